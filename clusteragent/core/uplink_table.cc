#include "clusteragent/core/uplink_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "clusteragent/core/backend_chains.h"
#include "clusteragent/core/uplink_names.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/core/uplink_timeouts.h"
#include "common/nftables/values.h"

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

constexpr char kTimeouts[] = "timeouts";
// What IPv6 never goes below, and a tunnel only where its way forces it. For
// all clients' sake: to a target they are one address, and the kernel there
// would keep to the least that any of them tells of.
constexpr uint16_t kLeastPathMtu = 1280;

constexpr int kMangle = -150;
// Before the -100 of kube-proxy and docker, which would otherwise win or lose
// by the order of loading.
constexpr int kTranslate = -110;
constexpr int kMasquerade = 90;

const Verdict kAccept{VerdictKind::kAccept};
const Verdict kDrop{VerdictKind::kDrop};
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
const Match kTcp{Field::kL4proto, nftables::ToBytes(Protocol::kTcp)};
const Match kUdp{Field::kL4proto, nftables::ToBytes(Protocol::kUdp)};
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

// `ip daddr != PREFIX`: of the prefix' family, and not for it.
Match NotFor(const IpPrefix& prefix) {
  return {NamesOf(prefix.family()).destination,
          nftables::ToBytes(prefix.address()), true, nftables::MaskOf(prefix)};
}

// Before routing: an edge speaks to our block of its own networks alone, or one
// could reach what another one maps. A new connection learns its edge, and what
// comes back from a target is routed by it.
Chain MarkEdge(const std::vector<TunnelOfEdge>& tunnels,
               const MarkMask& marks) {
  Chain chain{"mark-edge",
              {{ChainType::kFilter, HookPoint::kPrerouting, kMangle}}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (const IpPrefix& block : tunnel.blocks) {
      chain.rules.push_back(
          {{Match{Field::kIifname, nftables::NameBytes(tunnel.device)},
            NotFor(block), kDrop}});
    }
  }
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

// The timeouts come first: a translation ends the chain.
Chain Translate(const std::vector<UplinkFamily>& families, bool has_timeouts) {
  Chain chain{"prerouting",
              {{ChainType::kNat, HookPoint::kPrerouting, kTranslate}}};
  if (has_timeouts) {
    chain.rules.push_back(
        {{kFromTunnel, Verdict{VerdictKind::kJump, kTimeouts}}});
  }
  for (const UplinkFamily& family : families) {
    const UplinkNames& names = NamesOf(family.family);
    const auto to = [&names](const char* map, bool with_port) {
      return nftables::NatToMap{.kind = nftables::NatKind::kDnat,
                                .family = names.family,
                                .key = ListenerKey(names.destination),
                                .map = map,
                                .with_port = with_port};
    };
    chain.rules.push_back({{kFromTunnel, to(names.targets, true)}});
    chain.rules.push_back({{kFromTunnel, to(names.target_ranges, false)}});
  }
  return chain;
}

// What is not ours ends the chain that translates: others translate after us
// (Docker its published ports, kube-proxy its Services), and our later chains
// could not tell.
void RefuseRest(Chain& translate) {
  translate.rules.push_back(
      {{kFromTunnel, kTcp, nftables::Reject{nftables::RejectKind::kTcpReset}}});
  translate.rules.push_back({{kFromTunnel, kUdp, nftables::Reject()}});
}

// A target on this host never comes here, and sees the client's address.
Chain MasqueradeForwarded() {
  return {"postrouting",
          {{ChainType::kNat, HookPoint::kPostrouting, kMasquerade}},
          {Rule{{kFromTunnel, kTranslated, nftables::Masquerade()}}}};
}

Chain Forward(const MarkMask& marks,
              const std::vector<UplinkFamily>& families) {
  Chain chain{
      "forward",
      {{ChainType::kFilter, HookPoint::kForward, 0}},
      {Rule{{nftables::MatchPathMtu{kLeastPathMtu}, kFromTunnel, kDrop}},
       Rule{{kFromTunnel, kTranslated, kAccept}},
       Rule{{kFromTunnel, kTcp,
             nftables::Reject{nftables::RejectKind::kTcpReset}}},
       Rule{{kFromTunnel, nftables::Reject()}},
       Rule{{kToTunnel, kKnownFlow, HasAnyMark(marks), kAccept}},
       Rule{{kToTunnel, kDrop}}}};
  for (const UplinkFamily& family : families) {
    if (family.guarded_links.empty()) continue;
    const UplinkNames& names = NamesOf(family.family);
    chain.rules.push_back(
        {{Match{Field::kNfproto, Bytes{names.nfproto}},
          MatchSet{{Field::kIifname}, names.links}, kNotToTunnel, kDrop}});
  }
  return chain;
}

Chain Input(const std::vector<UplinkFamily>& families) {
  Chain chain{"input",
              {{ChainType::kFilter, HookPoint::kInput, 0}},
              {Rule{{kFromTunnel, kTranslated, kAccept}},
               Rule{{kFromTunnel, kKnownFlow, kAccept}}}};
  for (const UplinkFamily& family : families) {
    const UplinkNames& names = NamesOf(family.family);
    chain.rules.push_back(
        {{kFromTunnel, Match{names.icmp_type, Bytes{names.echo_request}},
          kAccept}});
  }
  chain.rules.push_back({{kFromTunnel, kDrop}});
  return chain;
}

// An edge takes whoever comes by the tunnel for its agent. Answers of targets
// on this host go out by their own users; the kernel's packets have none. What
// goes by a fallback route must be an answer.
Chain Output(const MarkMask& marks, const HostGuard& guard) {
  const nftables::MatchAnyOf dials{
      Field::kL4proto,
      {nftables::ToBytes(Protocol::kTcp), nftables::ToBytes(Protocol::kUdp)}};
  const Match original{Field::kCtDirection, Bytes{nftables::kCtOriginal}};
  const Match others{Field::kSkuid, nftables::MarkBytes(guard.user), true};
  const Match unmarked{Field::kCtMark, nftables::MarkBytes(0), false,
                       nftables::MarkBytes(marks.mask())};
  Chain chain{"output",
              {{ChainType::kFilter, HookPoint::kOutput, 0}},
              {Rule{{kToTunnel, dials, original, others, nftables::Reject()}}}};
  for (const UplinkFamily& family : guard.families) {
    if (!family.fallback) continue;
    const UplinkNames& names = NamesOf(family.family);
    chain.rules.push_back(
        {{kToTunnel, MatchSet{{names.destination}, names.edges, true}, unmarked,
          nftables::Reject()}});
  }
  return chain;
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

nftables::SetWithElements EdgeSet(const std::vector<TunnelOfEdge>& tunnels,
                                  const UplinkNames& names) {
  nftables::SetWithElements set{
      .set = {.name = names.edges, .key = {names.address_type}}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (const IpAddress& address : tunnel.edge_addresses) {
      if (address.family() != names.family) continue;
      set.elements.push_back({.key = nftables::ToBytes(address)});
    }
  }
  std::ranges::sort(set.elements, {}, &nftables::Element::key);
  return set;
}

std::pair<nftables::SetWithElements, nftables::SetWithElements> TargetMaps(
    const std::vector<TunnelOfEdge>& tunnels, const UplinkNames& names) {
  using nftables::Type;
  const std::vector<Type> key = ListenerTypes(names);
  nftables::SetWithElements single{
      .set = {.name = names.targets,
              .key = key,
              .data = {names.address_type, Type::kInetService}}};
  nftables::SetWithElements ranges{.set = {.name = names.target_ranges,
                                           .key = key,
                                           .data = {names.address_type},
                                           .interval = true}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (size_t i = 0; i < tunnel.targets.size(); ++i) {
      const UplinkTarget& target = tunnel.targets[i];
      if (target.address.family() != names.family) continue;
      if (IsOneOfSeveral(tunnel.targets, i)) continue;
      const Bytes address = nftables::ToBytes(target.target.address);
      if (target.ports.is_single()) {
        single.elements.push_back(
            {.key = ListenerBytes(target, target.ports.first),
             .data = nftables::Concat(
                 {address, nftables::PortBytes(target.target.port)})});
      } else {
        ranges.elements.push_back(
            {.key = ListenerBytes(target, target.ports.first),
             .key_end = ListenerBytes(target, target.ports.last),
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
                                const MarkMask& marks, const HostGuard& guard) {
  std::vector<std::string> devices = guard.control_devices;
  for (const TunnelOfEdge& tunnel : tunnels) devices.push_back(tunnel.device);
  nftables::Table table{.name = kUplinkTable};
  table.sets.push_back(NameSet(kTunnels, std::move(devices)));
  UplinkTimeouts timeouts = TimeoutsOf(tunnels, guard);
  nftables::Chain translate =
      Translate(guard.families, !timeouts.rules.empty());
  if (!timeouts.rules.empty()) {
    timeouts.chains.push_back(
        {.name = kTimeouts, .rules = std::move(timeouts.rules)});
  }
  std::vector<nftables::Chain> chains;  // that maps lead to
  for (const UplinkFamily& family : guard.families) {
    const UplinkNames& names = NamesOf(family.family);
    if (!family.guarded_links.empty()) {
      table.sets.push_back(NameSet(names.links, family.guarded_links));
    }
    if (family.fallback) table.sets.push_back(EdgeSet(tunnels, names));
    auto [single, ranges] = TargetMaps(tunnels, names);
    table.sets.push_back(std::move(single));
    table.sets.push_back(std::move(ranges));
    auto backends = MakeBackendChains(
        tunnels, {names.family, names.backends, names.backend_ranges,
                  ListenerTypes(names)});
    if (backends.empty()) continue;
    for (auto* set : {&backends.ports, &backends.ranges}) {
      translate.rules.push_back(ByVerdict(names, set->set.name));
      table.sets.push_back(std::move(*set));
    }
    std::ranges::move(backends.chains, std::back_inserter(chains));
  }
  RefuseRest(translate);
  std::ranges::move(timeouts.maps, std::back_inserter(table.sets));
  table.timeouts = std::move(timeouts.objects);
  table.chains = {MarkEdge(tunnels, marks),
                  MarkOwn(tunnels, marks),
                  std::move(translate),
                  MasqueradeForwarded(),
                  Forward(marks, guard.families),
                  Input(guard.families),
                  Output(marks, guard)};
  std::ranges::move(timeouts.chains, std::back_inserter(chains));
  std::ranges::sort(chains, {}, &nftables::Chain::name);
  std::ranges::move(chains, std::back_inserter(table.chains));
  return table;
}

}  // namespace edged::agent
