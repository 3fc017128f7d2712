#include "clusteragent/core/uplink_timeouts.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "clusteragent/core/uplink_names.h"
#include "common/nftables/values.h"

namespace edged::agent {
namespace {

using nftables::Field;
using nftables::Verdict;
using nftables::VerdictKind;

constexpr char kHalfOpen[] = "tcp-half-open";
// Each of all clients' connections to a target takes one of 64,512 ports of
// this host's address: strangers who answer nothing must not keep them. What a
// client sends again later begins a new entry (the kernel lets no SYN prolong
// one), by the same hash to the same endpoint.
constexpr uint32_t kHalfOpenSeconds = 10;

nftables::Statement MatchOf(Protocol protocol) {
  return nftables::Match{Field::kL4proto, nftables::ToBytes(protocol)};
}

void ShortenHalfOpen(nftables::CtTimeout& timeout) {
  timeout.seconds[nftables::kTcpSynSent] = kHalfOpenSeconds;
  timeout.seconds[nftables::kTcpSynRecv] = kHalfOpenSeconds;
}

nftables::CtTimeout TimeoutOf(const UplinkTarget& target) {
  auto timeout = nftables::IdleTimeout(
      target.protocol, static_cast<uint32_t>(target.timeout.count()));
  if (target.protocol == Protocol::kTcp) ShortenHalfOpen(timeout);
  return timeout;
}

nftables::CtTimeout HalfOpenTimeout() {
  nftables::CtTimeout timeout{.name = kHalfOpen, .protocol = Protocol::kTcp};
  ShortenHalfOpen(timeout);
  return timeout;
}

std::string TimeoutChain(const nftables::CtTimeout& timeout) {
  return "timeout-" + timeout.name;
}

// Those of one family; empty when there are none.
nftables::SetWithElements TimeoutMap(const std::vector<TunnelOfEdge>& tunnels,
                                     const UplinkNames& names, bool ranges) {
  nftables::SetWithElements map{
      .set = {.name = ranges ? names.timeout_ranges : names.timeouts,
              .key = ListenerTypes(names),
              .data = {nftables::Type::kVerdict},
              .interval = ranges}};
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (size_t i = 0; i < tunnel.targets.size(); ++i) {
      const UplinkTarget& target = tunnel.targets[i];
      if (i > 0 && tunnel.targets[i - 1].SharesListener(target)) continue;
      if (target.address.family() != names.family ||
          target.timeout.count() == 0 || target.ports.is_single() == ranges) {
        continue;
      }
      nftables::Element element{
          .key = ListenerBytes(target, target.ports.first),
          .verdict =
              Verdict{VerdictKind::kGoto, TimeoutChain(TimeoutOf(target))}};
      if (ranges) element.key_end = ListenerBytes(target, target.ports.last);
      map.elements.push_back(std::move(element));
    }
  }
  std::ranges::sort(map.elements, {}, &nftables::Element::key);
  return map;
}

}  // namespace

UplinkTimeouts TimeoutsOf(const std::vector<TunnelOfEdge>& tunnels,
                          const HostGuard& guard) {
  std::map<std::pair<Protocol, std::chrono::seconds>, const UplinkTarget*>
      classes;
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (const UplinkTarget& target : tunnel.targets) {
      if (target.timeout.count() == 0) continue;
      classes.emplace(std::pair(target.protocol, target.timeout), &target);
    }
  }
  UplinkTimeouts timeouts;
  if (guard.has_timeouts) timeouts.objects.push_back(HalfOpenTimeout());
  for (const auto& [name, target] : classes) {
    const nftables::CtTimeout object = TimeoutOf(*target);
    timeouts.chains.push_back(
        {.name = TimeoutChain(object),
         .rules = {{{MatchOf(target->protocol),
                     nftables::SetCtTimeout{object.name}}}}});
    timeouts.objects.push_back(object);
  }
  for (const UplinkFamily& family : guard.families) {
    const UplinkNames& names = NamesOf(family.family);
    for (const bool ranges : {false, true}) {
      auto map = TimeoutMap(tunnels, names, ranges);
      if (map.elements.empty()) continue;
      timeouts.rules.push_back(ByVerdict(names, map.set.name));
      timeouts.maps.push_back(std::move(map));
    }
  }
  // Behind the maps, which leave the chain: a kernel keeps the first object
  // that a connection is given (6.1), or the last (6.18).
  if (guard.has_timeouts) {
    timeouts.rules.push_back({{kFromTunnel, MatchOf(Protocol::kTcp),
                               nftables::SetCtTimeout{kHalfOpen}}});
  }
  return timeouts;
}

}  // namespace edged::agent
