#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/rtnetlink.h"
#include "edged/core/route_plan.h"

namespace edged::edge {

// Links, addresses, routes and settings of this host's network namespace.
struct HostNetwork {
  std::vector<netlink::Link> links;
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  bool forwarding_everywhere = false;
};

absl::StatusOr<HostNetwork> Observe(netlink::Rtnetlink& rtnetlink);

// Makes a planned change; goes on after an error and returns the first.
absl::Status Apply(netlink::Rtnetlink& rtnetlink, const RouteChange& change);

}  // namespace edged::edge
