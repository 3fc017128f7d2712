#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"
#include "common/protocol/records.h"
#include "edged/core/host_facts.h"
#include "edged/core/route_plan.h"

// Answers leave by the interface that their requests came in by. The kernel
// routes an answer before it has its public source address again, so nothing
// but a mark tells which interface that was. The interface of the default route
// needs none; each other one with a gateway or a public address is an
// ArrivalWay: its connections carry its number (nft_ways.h), and packets of
// that mark look into its routing table. Routes name the gateway; where none
// does, the only neighbour of a public interface is taken. Pure.

namespace edged::edge {

// Way n has table kWayTableBase + n: clear of the uplink's tables (0xed00 and
// on), of the kernel's and of small numbers that people use.
inline constexpr uint32_t kWayTableBase = 0xee00;
inline constexpr uint32_t kWayRulePriority = 90;
inline constexpr uint32_t kWayNumberBits = 0xff;  // of a mark; 0: no such way

// Sets `arrivals` of `facts`, whose nic_addresses are resolved. The numbers in
// there, and else those of the kernel's routes, stay with their interfaces.
void FindArrivalWays(const protocol::Settings& settings,
                     const ObservedRoutes& observed, HostFacts& facts);

// What the tables of these ways hold: a copy of the interface's routes, a
// default route by its gateway, and nothing for uplinks.
std::vector<netlink::Route> RoutesOfWays(const HostFacts& facts,
                                         const ObservedRoutes& observed);
// The rules that lead there, for the families that have such routes.
std::vector<netlink::Rule> RulesOfWays(
    const std::vector<netlink::Route>& routes);
// One of these, or what was one.
bool IsRouteOfWay(const netlink::Route& route);
bool IsRuleOfWay(const netlink::Rule& rule);

// What marks the connections and packets of a way: `value` within `mask`.
struct WayMark {
  uint32_t value = 0;
  uint32_t mask = 0;
};
WayMark MarkOfWay(uint8_t number);

// A sentence for each public address whose interface has no known gateway, and
// one for what the kernel refused.
// Nobody tells of neighbours: while some are unnamed they have to be asked for.
std::vector<std::string> WarningsOfArrivals(const HostFacts& facts);

}  // namespace edged::edge
