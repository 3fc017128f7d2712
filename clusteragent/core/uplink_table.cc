#include "clusteragent/core/uplink_table.h"

#include <algorithm>
#include <utility>

#include "clusteragent/core/uplink_plan.h"

namespace edged::agent {
namespace {

using nftables::Bytes;
using nftables::Chain;
using nftables::ChainType;
using nftables::Field;
using nftables::HookPoint;
using nftables::Match;
using nftables::MatchSet;
using nftables::Rule;
using nftables::Verdict;
using nftables::VerdictKind;

constexpr char kTunnels[] = "tunnels";
constexpr char kLinks[] = "links";
constexpr char kTargets[] = "targets4";
constexpr char kTargetRanges[] = "target_ranges4";

constexpr int kMangle = -150;
// Before the -100 of kube-proxy and docker, which would otherwise win or lose
// by the order of loading.
constexpr int kTranslate = -110;
constexpr int kMasquerade = 90;

constexpr uint8_t kEchoRequest = 8;

const Verdict kAccept{VerdictKind::kAccept};
const Verdict kDrop{VerdictKind::kDrop};
const MatchSet kFromTunnel{{Field::kIifname}, kTunnels};
const MatchSet kNotFromTunnel{{Field::kIifname}, kTunnels, true};
const MatchSet kToTunnel{{Field::kOifname}, kTunnels};
const MatchSet kNotToTunnel{{Field::kOifname}, kTunnels, true};
const Match kTranslated{Field::kCtStatus,
                        nftables::MarkBytes(nftables::kCtStatusDnat)};
const Match kKnownFlow{
    Field::kCtState,
    nftables::MarkBytes(nftables::kCtEstablished | nftables::kCtRelated)};
// Answers, and ICMP errors about what came from an edge. An error about an
// answer goes to the target instead: it must learn the tunnel's MTU.
const Match kReply{Field::kCtDirection, Bytes{nftables::kCtReply}};
const Match kNewFlow{Field::kCtState, nftables::MarkBytes(nftables::kCtNew)};

// `ct mark & MASK == MARK`
Match HasMark(const MarkMask& marks, uint32_t mark) {
  return {Field::kCtMark, nftables::MarkBytes(mark), false,
          nftables::MarkBytes(marks.mask())};
}

// `ct mark & MASK != 0`: the connection came from some edge.
Match HasAnyMark(const MarkMask& marks) {
  return {Field::kCtMark, nftables::MarkBytes(0), true,
          nftables::MarkBytes(marks.mask())};
}

// Before routing: a new connection learns its edge, and what comes back from a
// target is routed by it.
Chain MarkEdge(const std::vector<TunnelOfEdge>& tunnels,
               const MarkMask& marks) {
  Chain chain{"mark-edge",
              {{ChainType::kFilter, HookPoint::kPrerouting, kMangle}}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    chain.rules.push_back(
        {{Match{Field::kIifname, nftables::NameBytes(tunnel.device)}, kNewFlow,
          nftables::SetCtMark{tunnel.mark, marks.keep()}}});
  }
  for (const TunnelOfEdge& tunnel : tunnels) {
    chain.rules.push_back({{kNotFromTunnel, kReply, HasMark(marks, tunnel.mark),
                            nftables::SetMark{tunnel.mark, marks.keep()}}});
  }
  return chain;
}

// The same for what this host answers itself: targets on it, and its own ICMP
// errors. A route chain, because the packet has been routed already.
Chain MarkOwn(const std::vector<TunnelOfEdge>& tunnels, const MarkMask& marks) {
  Chain chain{"mark-own", {{ChainType::kRoute, HookPoint::kOutput, kMangle}}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    chain.rules.push_back({{kReply, HasMark(marks, tunnel.mark),
                            nftables::SetMark{tunnel.mark, marks.keep()}}});
  }
  return chain;
}

Chain Translate() {
  const std::vector<Field> key = {Field::kIpDaddr, Field::kL4proto,
                                  Field::kThDport};
  const auto to = [&key](const char* map, bool with_port) {
    return nftables::NatToMap{.kind = nftables::NatKind::kDnat,
                              .family = Family::kIpv4,
                              .key = key,
                              .map = map,
                              .with_port = with_port};
  };
  return {"prerouting",
          {{ChainType::kNat, HookPoint::kPrerouting, kTranslate}},
          {Rule{{kFromTunnel, to(kTargets, true)}},
           Rule{{kFromTunnel, to(kTargetRanges, false)}}}};
}

// A target on this host never comes here, and sees the client's address.
Chain MasqueradeForwarded() {
  return {"postrouting",
          {{ChainType::kNat, HookPoint::kPostrouting, kMasquerade}},
          {Rule{{kFromTunnel, kTranslated, nftables::Masquerade()}}}};
}

Chain Forward(const MarkMask& marks, bool guarded) {
  const Match tcp{Field::kL4proto, nftables::ToBytes(Protocol::kTcp)};
  Chain chain{"forward",
              {{ChainType::kFilter, HookPoint::kForward, 0}},
              {Rule{{kFromTunnel, kTranslated, kAccept}},
               Rule{{kFromTunnel, tcp,
                     nftables::Reject{nftables::RejectKind::kTcpReset}}},
               Rule{{kFromTunnel, nftables::Reject()}},
               Rule{{kToTunnel, kKnownFlow, HasAnyMark(marks), kAccept}},
               Rule{{kToTunnel, kDrop}}}};
  if (guarded) {
    chain.rules.push_back(
        {{MatchSet{{Field::kIifname}, kLinks}, kNotToTunnel, kDrop}});
  }
  return chain;
}

Chain Input() {
  return {"input",
          {{ChainType::kFilter, HookPoint::kInput, 0}},
          {Rule{{kFromTunnel, kTranslated, kAccept}},
           Rule{{kFromTunnel, kKnownFlow, kAccept}},
           Rule{{kFromTunnel, Match{Field::kIcmpType, Bytes{kEchoRequest}},
                 kAccept}},
           Rule{{kFromTunnel, kDrop}}}};
}

nftables::SetWithElements NameSet(const char* name,
                                  std::vector<std::string> names) {
  std::ranges::sort(names);
  nftables::SetWithElements set{
      .set = {.name = name, .key = {nftables::Type::kIfname}}};
  for (const std::string& member : names) {
    set.elements.push_back({.key = nftables::NameBytes(member)});
  }
  return set;
}

std::pair<nftables::SetWithElements, nftables::SetWithElements> TargetMaps(
    const std::vector<TunnelOfEdge>& tunnels) {
  using nftables::Type;
  const std::vector<Type> key = {Type::kIpv4Addr, Type::kInetProto,
                                 Type::kInetService};
  nftables::SetWithElements single{
      .set = {.name = kTargets,
              .key = key,
              .data = {Type::kIpv4Addr, Type::kInetService}}};
  nftables::SetWithElements ranges{.set = {.name = kTargetRanges,
                                           .key = key,
                                           .data = {Type::kIpv4Addr},
                                           .interval = true}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (const UplinkTarget& target : tunnel.targets) {
      const auto key_at = [&target](uint16_t port) {
        return nftables::Concat({nftables::ToBytes(target.address),
                                 nftables::ToBytes(target.protocol),
                                 nftables::PortBytes(port)});
      };
      const Bytes address = nftables::ToBytes(target.target.address);
      if (target.ports.is_single()) {
        single.elements.push_back(
            {.key = key_at(target.ports.first),
             .data = nftables::Concat(
                 {address, nftables::PortBytes(target.target.port)})});
      } else {
        ranges.elements.push_back({.key = key_at(target.ports.first),
                                   .key_end = key_at(target.ports.last),
                                   .data = address});
      }
    }
  }
  std::ranges::sort(single.elements, {}, &nftables::Element::key);
  std::ranges::sort(ranges.elements, {}, &nftables::Element::key);
  return {std::move(single), std::move(ranges)};
}

}  // namespace

nftables::Table MakeUplinkTable(const std::vector<TunnelOfEdge>& tunnels,
                                const MarkMask& marks,
                                const std::vector<std::string>& guarded_links) {
  std::vector<std::string> devices;
  for (const TunnelOfEdge& tunnel : tunnels) devices.push_back(tunnel.device);
  nftables::Table table{.name = kUplinkTable};
  table.sets.push_back(NameSet(kTunnels, std::move(devices)));
  if (!guarded_links.empty()) {
    table.sets.push_back(NameSet(kLinks, guarded_links));
  }
  auto [single, ranges] = TargetMaps(tunnels);
  table.sets.push_back(std::move(single));
  table.sets.push_back(std::move(ranges));
  table.chains = {MarkEdge(tunnels, marks),
                  MarkOwn(tunnels, marks),
                  Translate(),
                  MasqueradeForwarded(),
                  Forward(marks, !guarded_links.empty()),
                  Input()};
  return table;
}

}  // namespace edged::agent
