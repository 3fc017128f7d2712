#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/netlink/rtnetlink.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"
#include "edged/core/route_plan.h"

// What carries the tunnel on this host, and how large its packets may be. Pure.

namespace edged::edge {

// The kernel's route to the endpoint of an uplink (Rtnetlink::RouteTo).
struct RouteToPeer {
  IpAddress endpoint;
  netlink::Route route;
};

// Sets mtu, own_mtu and underlay of `facts`. The settings say the MTU, or it is
// auto: the least of the links and routes to the uplinks, less what WireGuard
// adds; before any uplink was heard, of the links with a default route by
// either family. The device of an edge with public IPv6 addresses has 1280 at
// least.
void JudgeUnderlay(const protocol::Settings& settings,
                   const std::vector<RouteToPeer>& peers,
                   const ObservedRoutes& observed, HostFacts& facts);

// A sentence for each uplink that full packets of IPv6 cannot reach whole.
std::vector<std::string> WarningsOfMtu(const EdgeModel& model,
                                       const HostFacts& facts);

}  // namespace edged::edge
