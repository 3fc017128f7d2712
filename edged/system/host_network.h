#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/rtnetlink.h"
#include "edged/core/route_plan.h"

namespace edged::edge {

// What this host's network namespace has.
struct HostNetwork {
  ObservedRoutes routes;  // links, addresses, routes
  bool forwarding_everywhere = false;
};

absl::StatusOr<HostNetwork> Observe(netlink::Rtnetlink& rtnetlink);

// Makes a planned change; goes on after an error and returns the first.
absl::Status Apply(netlink::Rtnetlink& rtnetlink, const RouteChange& change);

}  // namespace edged::edge
