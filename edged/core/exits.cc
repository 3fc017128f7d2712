#include "edged/core/exits.h"

#include <linux/rtnetlink.h>

#include <optional>
#include <set>
#include <tuple>

namespace edged::edge {
namespace {

using netlink::Route;

// The main table's word comes first, then the metric.
auto RankOf(const Route& route) {
  return std::tuple(route.table != RT_TABLE_MAIN, route.table, route.priority);
}

// What routes say of one link.
struct Candidates {
  std::optional<Route> with_default;
  std::set<IpAddress> gateways;
  std::optional<Route> by_gateway;
};

}  // namespace

Exits::Exits(Family family, const std::vector<Route>& routes,
             const std::set<uint32_t>& early_tables) {
  std::map<int, Candidates> candidates;
  std::optional<uint32_t> metric;
  std::set<int> usual;
  bool others_first = false;
  ForEachWay(family, routes, [&](const Route& route) {
    Candidates& of_link = candidates[route.link];
    if (route.gateway && of_link.gateways.insert(*route.gateway).second) {
      of_link.by_gateway = route;
    }
    if (route.destination.length() != 0) return;
    others_first |= early_tables.contains(route.table);
    if (!of_link.with_default ||
        RankOf(route) < RankOf(*of_link.with_default)) {
      of_link.with_default = route;
    }
    if (route.table != RT_TABLE_MAIN || (metric && route.priority > *metric)) {
      return;
    }
    if (metric != route.priority) usual.clear();
    metric = route.priority;
    usual.insert(route.link);
  });
  if (usual.size() == 1 && !others_first) usual_ = *usual.begin();
  for (const auto& [link, of_link] : candidates) {
    std::optional<Route> way = of_link.with_default;
    if (!way && of_link.gateways.size() == 1) way = of_link.by_gateway;
    if (!way) continue;
    way->destination = IpPrefix(way->destination.address(), 0);
    ways_.emplace(link, *std::move(way));
  }
}

const Route* Exits::Of(int link) const {
  const auto found = ways_.find(link);
  return found == ways_.end() ? nullptr : &found->second;
}

}  // namespace edged::edge
