#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/rtnetlink.h"
#include "edged/core/conntrack_room.h"
#include "edged/core/ipv6_support.h"
#include "edged/core/route_plan.h"

namespace edged::edge {

// What this host's network namespace has.
struct HostNetwork {
  ObservedRoutes routes;  // links, addresses, routes, rules' tables
  bool forwarding_everywhere = false;
  Ipv6Host ipv6;
};

// Where `edged prepare` notes that it, and nobody else, made this host forward
// IPv6. Gone with the next boot, as is the setting.
inline constexpr char kPreparedFile[] = "/run/edged/ipv6-forwarding";

absl::StatusOr<HostNetwork> Observe(netlink::Rtnetlink& rtnetlink);

// From /proc/sys; nothing while conntrack is not loaded.
ConntrackFill ReadConntrackFill();

// What came of a change: the first error, and that of the ways of
// arrival_ways.h apart, without which all other clients are still served.
struct Applied {
  absl::Status status;
  absl::Status ways;
};
// Makes a planned change; goes on after an error.
Applied Apply(netlink::Rtnetlink& rtnetlink, const RouteChange& change);

}  // namespace edged::edge
