#pragma once

#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "clusteragent/core/facts.h"
#include "clusteragent/core/uplink_plan.h"
#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"

namespace edged::agent {

// What this host's network namespace has, without our own devices.
struct UplinkHost {
  std::vector<IpAddress> local_addresses;
  std::vector<IpPrefix> routes;  // default routes left out
  bool forwarding_everywhere = false;
  std::set<Family> without_default;  // families without a default route
  UplinkIpv6 ipv6;
  Ipv6Trouble ipv6_trouble;
};

// Only looks, and needs no privilege for it.
// `links`: all that there are.
absl::StatusOr<UplinkHost> ObserveHost(netlink::Rtnetlink& rtnetlink,
                                       const std::vector<netlink::Link>& links);

}  // namespace edged::agent
