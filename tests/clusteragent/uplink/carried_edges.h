#pragma once

#include <map>
#include <string>
#include <vector>

#include "clusteragent/core/planner.h"
#include "clusteragent/core/uplink_plan.h"

// Edges for an uplink of this machine to carry.

namespace edged::agent {

inline constexpr char kWireguardGo[] = "/usr/bin/wireguard-go";

// Why this machine cannot carry an uplink; empty when it can.
std::string WhyNoUplink();

// Of edges "a" and "b", or one of them, each with 80/tcp and 100-200/udp to
// 10.9.0.5, and 80/tcp to `port` there. Names of devices follow from `run`.
Plan PlanToCarry(const std::vector<std::string>& edges, const std::string& run,
                 uint16_t port = 80);
// How the uplink "home" reaches them, at 10.9.0.2.
std::map<std::string, EdgeAccess> AccessTo(
    const std::vector<std::string>& edges);

}  // namespace edged::agent
