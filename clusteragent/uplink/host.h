#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"

namespace edged::agent {

// What this host's network namespace has, without our own devices.
struct UplinkHost {
  std::vector<IpAddress> local_addresses;
  std::vector<IpPrefix> routes;  // default routes left out
  bool forwarding_everywhere = false;
};

// Only looks, and needs no privilege for it.
absl::StatusOr<UplinkHost> ObserveHost(netlink::Rtnetlink& rtnetlink);

}  // namespace edged::agent
