#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"

// Which ways lead from this host to everywhere. Pure.

namespace edged::edge {

// Of one family, as far as any unicast route of the host tells that is not
// ours.
class Exits {
 public:
  // `early_tables`: those that rules lead anybody's packets to before the main
  // table.
  Exits(Family family, const std::vector<netlink::Route>& routes,
        const std::set<uint32_t>& early_tables);

  // The link that all packets leave by which nothing leads elsewhere; 0: there
  // is none, or several are as good, or another table's default route comes
  // first, as that of a VPN may.
  int usual() const { return usual_; }
  // The way out by `link`: a default route of the main table or of another one,
  // else the only gateway that routes by this link name, as a default route.
  // nullptr: none is known.
  const netlink::Route* Of(int link) const;
  // There is one that nobody takes unless he is told to.
  bool IsUnusual(int link) const { return link != usual_ && Of(link); }

 private:
  int usual_ = 0;
  std::map<int, netlink::Route> ways_;  // by link
};

// Others' unicast routes of `family`, with one for each hop of a multipath one.
// To be called for each: `visit(route)`.
template <typename Visit>
void ForEachWay(Family family, const std::vector<netlink::Route>& routes,
                Visit visit) {
  for (const netlink::Route& route : routes) {
    if (route.kind != netlink::RouteKind::kUnicast ||
        route.protocol == netlink::kRouteProtocol ||
        route.destination.family() != family) {
      continue;
    }
    if (route.hops.empty()) visit(route);
    for (const netlink::NextHop& hop : route.hops) {
      netlink::Route one = route;
      one.hops.clear();
      one.link = hop.link;
      one.gateway = hop.gateway;
      visit(one);
    }
  }
}

}  // namespace edged::edge
