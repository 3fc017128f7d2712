#include "edged/core/overflow_table.h"

#include <algorithm>

#include "common/protocol/overlay.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Bytes;
using nftables::Chain;
using nftables::ChainType;
using nftables::Element;
using nftables::Field;
using nftables::Hook;
using nftables::HookPoint;
using nftables::Match;
using nftables::MatchSet;
using nftables::NoTrack;
using nftables::SetWithElements;

constexpr char kCallersSet[] = "callers";

const char* OuterSet(Family family) {
  return family == Family::kIpv4 ? "outer4" : "outer6";
}

SetWithElements OuterEnds(Family family, const TrackedEnds& tracked) {
  SetWithElements ends{
      {.name = OuterSet(family),
       .key = {NamesOf(family).address_type, nftables::Type::kInetService}},
      {}};
  for (const SocketAddress& end : tracked.outer) {
    if (end.address.family() != family) continue;
    ends.elements.push_back(
        {.key = nftables::Concat(
             {nftables::ToBytes(end.address), nftables::PortBytes(end.port)})});
  }
  std::ranges::sort(ends.elements, {}, &Element::key);
  return ends;
}

const char* OwnSet(Family family) {
  return family == Family::kIpv4 ? "own4" : "own6";
}

SetWithElements OwnAddresses(Family family, const std::set<IpAddress>& own) {
  SetWithElements addresses{
      {.name = OwnSet(family), .key = {NamesOf(family).address_type}}, {}};
  for (const IpAddress& address : own) {
    if (address.family() != family) continue;
    addresses.elements.push_back({.key = nftables::ToBytes(address)});
  }
  return addresses;
}

SetWithElements CallersEnds(const TrackedEnds& tracked) {
  SetWithElements ends{
      {.name = kCallersSet,
       .key = {nftables::Type::kInetProto, nftables::Type::kIpv4Addr,
               nftables::Type::kInetService}},
      {}};
  for (const Caller& caller : tracked.callers) {
    ends.elements.push_back(
        {.key = nftables::Concat({nftables::ToBytes(caller.protocol),
                                  nftables::ToBytes(caller.end.address),
                                  nftables::PortBytes(caller.end.port)})});
  }
  std::ranges::sort(ends.elements, {}, &Element::key);
  return ends;
}

// One of the two ways, by what a packet has of the uplink and of this host.
struct Way {
  const char* chain;
  HookPoint hook;
  Field interface;
  Field own_port;
  Field uplink_port;
  bool to_uplink;
};

Field AddressOf(const Way& way, Family family, bool of_uplink) {
  const FamilyNames& names = NamesOf(family);
  return of_uplink == way.to_uplink ? names.destination : names.source;
}

Chain ChainOf(const Way& way, const HostFacts& facts) {
  Chain chain{.name = way.chain,
              .hook = Hook{ChainType::kFilter, way.hook, kOverflowPriority}};
  const Bytes device = nftables::NameBytes(facts.device);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    chain.rules.push_back(
        {{Match{Field::kL4proto, nftables::ToBytes(Protocol::kUdp)},
          Match{way.own_port, nftables::PortBytes(facts.limits.listen_port)},
          Match{.field = way.interface, .value = device, .negate = true},
          MatchSet{{AddressOf(way, family, false)}, OwnSet(family)},
          MatchSet{{AddressOf(way, family, true), way.uplink_port},
                   OuterSet(family),
                   true},
          NoTrack{}}});
  }
  const protocol::Overlay& overlay = facts.limits.overlay;
  chain.rules.push_back(
      {{Match{way.interface, device},
        Match{AddressOf(way, Family::kIpv4, false),
              nftables::ToBytes(overlay.EdgeAddress())},
        nftables::MatchAnyOf{Field::kL4proto,
                             {nftables::ToBytes(Protocol::kTcp),
                              nftables::ToBytes(Protocol::kUdp)}},
        Match{way.own_port, nftables::PortBytes(protocol::kApiPort)},
        MatchSet{{Field::kL4proto, AddressOf(way, Family::kIpv4, true),
                  way.uplink_port},
                 kCallersSet,
                 true},
        NoTrack{}}});
  return chain;
}

}  // namespace

TrackedEnds StillTracked(const TrackedEnds& tracked,
                         const std::vector<HeardUplink>& heard) {
  TrackedEnds left;
  for (const HeardUplink& uplink : heard) {
    if (tracked.outer.contains(uplink.outer)) left.outer.insert(uplink.outer);
    for (const Caller& caller : tracked.callers) {
      if (caller.end.address == uplink.address) left.callers.insert(caller);
    }
  }
  return left;
}

nftables::Table OverflowTable(const HostFacts& facts,
                              const std::set<IpAddress>& own,
                              const TrackedEnds& tracked) {
  constexpr Way kIn{.chain = "prerouting",
                    .hook = HookPoint::kPrerouting,
                    .interface = Field::kIifname,
                    .own_port = Field::kThDport,
                    .uplink_port = Field::kThSport,
                    .to_uplink = false};
  constexpr Way kOut{.chain = "output",
                     .hook = HookPoint::kOutput,
                     .interface = Field::kOifname,
                     .own_port = Field::kThSport,
                     .uplink_port = Field::kThDport,
                     .to_uplink = true};
  return {.name = kOverflowTable,
          .sets = {OuterEnds(Family::kIpv4, tracked),
                   OuterEnds(Family::kIpv6, tracked), CallersEnds(tracked),
                   OwnAddresses(Family::kIpv4, own),
                   OwnAddresses(Family::kIpv6, own)},
          .chains = {ChainOf(kIn, facts), ChainOf(kOut, facts)}};
}

}  // namespace edged::edge
