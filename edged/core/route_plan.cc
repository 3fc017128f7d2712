#include "edged/core/route_plan.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <iterator>
#include <tuple>

#include "common/protocol/tunnel_mtu.h"
#include "common/status.h"
#include "edged/core/arrival_ways.h"

namespace edged::edge {
namespace {

using netlink::Address;
using netlink::Link;
using netlink::Route;
using netlink::Rule;

constexpr int kLooseFilter = 2;

const Link* FindLink(const std::vector<Link>& links, std::string_view name) {
  const auto found = std::ranges::find(links, name, &Link::name);
  return found == links.end() ? nullptr : &*found;
}

// Where public addresses of a family arrive; lo forwards nothing.
std::vector<const Link*> PublicLinks(Family family, const HostFacts& facts,
                                     const std::vector<Link>& links) {
  std::vector<const Link*> found;
  for (const auto& [address, nic] : facts.nic_addresses) {
    if (address.family() != family) continue;
    const Link* link = FindLink(links, nic.interface);
    if (link && !link->loopback &&
        std::ranges::find(found, link) == found.end()) {
      found.push_back(link);
    }
  }
  return found;
}

// The default route leaves by another interface.
bool IsUnusual(const Link& link, const HostFacts& facts) {
  const Arrivals& arrivals = facts.arrivals;
  return std::ranges::find(arrivals.ways, link.name, &ArrivalWay::interface) !=
             arrivals.ways.end() ||
         std::ranges::find(arrivals.unnamed, link.name,
                           &UnnamedGateway::interface) !=
             arrivals.unnamed.end();
}

std::string Describe(const Route& route, std::string_view device) {
  std::string text = "route ";
  if (route.kind != netlink::RouteKind::kUnicast) {
    text += fmt::format("{} ", ToString(route.kind));
  }
  text += route.destination.ToString();
  if (route.gateway) text += fmt::format(" via {}", route.gateway->ToString());
  if (!device.empty()) text += fmt::format(" dev {}", device);
  if (route.mtu != 0) text += fmt::format(" mtu {}", route.mtu);
  if (route.table != RT_TABLE_MAIN) {
    text += fmt::format(" table {}", route.table);
  }
  return text;
}

std::string Describe(const Rule& rule) {
  return fmt::format("rule fwmark {:#x}/{:#x} lookup {}", rule.mark, rule.mask,
                     rule.table);
}

// In the kernel there is one of these at most: writing the other replaces it,
// and no packet misses it.
bool AreOneRoute(const Route& a, const Route& b) {
  const auto key = [](const Route& route) {
    return std::tie(route.destination, route.table, route.priority,
                    route.protocol);
  };
  return key(a) == key(b);
}

// An uplink that has not told its MTU yet has what it had before this run.
uint32_t MtuOfRoute(const Route& route, const std::string& uplink,
                    const HostFacts& facts,
                    const std::vector<Route>& observed) {
  uint32_t mtu = facts.MtuOf(uplink);
  if (!facts.uplink_mtus.contains(uplink)) {
    for (const Route& before : observed) {
      if (before.mtu != 0 && AreOneRoute(before, route)) {
        mtu = std::min(mtu, before.mtu);
      }
    }
  }
  if (route.destination.family() == Family::kIpv6) {
    mtu = std::max(mtu, protocol::kLeastIpv6Mtu);
  }
  return mtu < facts.mtu ? mtu : 0;
}

void PlanAddresses(const HostFacts& facts, int device,
                   const std::vector<Address>& observed, RouteChange& change) {
  for (const Family family : facts.families()) {
    const IpAddress own = facts.OverlayOf(family)->EdgeAddress();
    change.added_addresses.push_back(
        {.link = device,
         .address = own,
         .prefix_length = own.bits(),
         // Nobody else is on a tunnel: it need not be looked for.
         .flags = own.is_ipv4() ? 0u : uint32_t{IFA_F_NODAD}});
  }
  for (const Address& address : observed) {
    if (address.link != device) continue;
    const auto is_there = [&address](const Address& wanted) {
      return wanted.address == address.address &&
             wanted.prefix_length == address.prefix_length;
    };
    if (std::erase_if(change.added_addresses, is_there) == 0 &&
        address.scope == RT_SCOPE_UNIVERSE) {
      change.removed_addresses.push_back(address);
    }
  }
}

void PlanRoutesOf(const EdgeModel& model, const HostFacts& facts, int device,
                  const std::vector<Route>& observed,
                  const std::vector<Route>& of_ways, RouteChange& change) {
  std::vector<Route> wanted{
      {.destination = IpPrefix::Host(facts.limits.overlay.ControlAddress()),
       .link = device}};
  for (const auto& [name, uplink] : model.uplinks()) {
    for (const Family family : facts.families()) {
      const bool is_ipv4 = family == Family::kIpv4;
      Route route{
          .destination = facts.OverlayOf(family)->BlockPrefix(uplink.block),
          .link = device,
          .priority = is_ipv4 ? 0 : netlink::kIpv6Metric};
      route.mtu = MtuOfRoute(route, name, facts, observed);
      wanted.push_back(route);
    }
  }
  std::ranges::sort(wanted);
  // In their order: the way to a gateway comes before the routes by it.
  wanted.insert(wanted.end(), of_ways.begin(), of_ways.end());
  for (const Route& route : observed) {
    if (route.protocol != netlink::kRouteProtocol) continue;
    const bool is_wanted = std::ranges::any_of(
        wanted,
        [&route](const Route& other) { return AreOneRoute(route, other); });
    if (!is_wanted) change.removed_routes.push_back(route);
  }
  for (const Route& route : wanted) {
    if (std::ranges::find(observed, route) == observed.end()) {
      change.replaced_routes.push_back(route);
    }
  }
}

void PlanRules(const std::vector<Rule>& wanted, const ObservedRoutes& observed,
               RouteChange& change) {
  for (const Rule& rule : wanted) {
    if (std::ranges::find(observed.rules, rule) == observed.rules.end()) {
      change.added_rules.push_back(rule);
    }
  }
  for (const Rule& rule : observed.rules) {
    if (std::ranges::find(wanted, rule) == wanted.end()) {
      change.removed_rules.push_back(rule);
    }
  }
}

void PlanConf(const Link& link, netlink::Ipv4Conf wanted, RouteChange& change) {
  if (link.ipv4 != wanted) {
    change.confs.push_back({link.index, link.name, wanted});
  }
}

void PlanConfs(const HostFacts& facts, const Link& device,
               const std::vector<Link>& links, RouteChange& change) {
  PlanConf(device, {.forwarding = true, .rp_filter = kLooseFilter}, change);
  const auto public_links = PublicLinks(Family::kIpv4, facts, links);
  for (const Link* link : public_links) {
    netlink::Ipv4Conf conf = link->ipv4;
    conf.forwarding = true;
    // Strict drops what comes in by another interface than the default route.
    const bool breaks = conf.rp_filter == 1 &&
                        (public_links.size() > 1 || IsUnusual(*link, facts));
    if (breaks) conf.rp_filter = kLooseFilter;
    PlanConf(*link, conf, change);
  }
  for (const auto& name : facts.switched_interfaces) {
    const Link* link = FindLink(links, name);
    if (!link || std::ranges::find(public_links, link) != public_links.end()) {
      continue;
    }
    netlink::Ipv4Conf conf = link->ipv4;
    conf.forwarding = false;
    PlanConf(*link, conf, change);
  }
}

void PlanIpv6Confs(const HostFacts& facts, const Link& device,
                   const std::vector<Link>& links, RouteChange& change) {
  if (facts.ipv6.forwarding_everywhere || !facts.ipv6.may_switch) return;
  const auto set = [&change](const Link& link, bool wanted) {
    if (link.ipv6.force_forwarding && *link.ipv6.force_forwarding != wanted) {
      change.ipv6_confs.push_back({link.name, wanted});
    }
  };
  const auto public_links = PublicLinks(Family::kIpv6, facts, links);
  if (!public_links.empty()) set(device, true);
  for (const Link* link : public_links) set(*link, true);
  for (const auto& name : facts.ipv6.switched_interfaces) {
    const Link* link = FindLink(links, name);
    if (link && std::ranges::find(public_links, link) == public_links.end()) {
      set(*link, false);
    }
  }
}

}  // namespace

bool RouteChange::empty() const { return *this == RouteChange(); }

std::string RouteChange::ToString(const std::string& name) const {
  std::string text;
  const auto line = [&text](std::string_view sign, std::string_view what) {
    text += fmt::format("{} {}\n", sign, what);
  };
  if (device) {
    line("~", fmt::format("link {} {} mtu {}", name, device->up ? "up" : "down",
                          device->mtu));
  }
  const auto describe = [&](const Address& address) {
    return fmt::format("address {}/{} dev {}", address.address.ToString(),
                       address.prefix_length, name);
  };
  for (const auto& address : added_addresses) line("+", describe(address));
  for (const auto& address : removed_addresses) line("-", describe(address));
  for (const auto& route : removed_routes) line("-", Describe(route, ""));
  for (const auto& route : replaced_routes) {
    line("+", Describe(route, IsRouteOfWay(route) ? "" : name));
  }
  for (const auto& rule : removed_rules) line("-", Describe(rule));
  for (const auto& rule : added_rules) line("+", Describe(rule));
  for (const auto& change : confs) {
    line("~",
         fmt::format("ipv4 {} forwarding {} rp_filter {}", change.interface,
                     change.conf.forwarding ? 1 : 0, change.conf.rp_filter));
  }
  for (const auto& change : ipv6_confs) {
    line("~", fmt::format("ipv6 {} force_forwarding {}", change.interface,
                          change.force_forwarding ? 1 : 0));
  }
  return text;
}

absl::StatusOr<RouteChange> PlanRoutes(const EdgeModel& model,
                                       const HostFacts& facts,
                                       const ObservedRoutes& observed) {
  const Link* device = FindLink(observed.links, facts.device);
  if (!device) {
    return FailedPrecondition("there is no device {}", facts.device);
  }
  RouteChange change;
  if (!device->up || device->mtu != facts.mtu) {
    change.device = LinkChange{device->index, true, facts.mtu};
  }
  PlanAddresses(facts, device->index, observed.addresses, change);
  const std::vector<Route> of_ways = RoutesOfWays(facts, observed);
  PlanRoutesOf(model, facts, device->index, observed.routes, of_ways, change);
  PlanRules(RulesOfWays(of_ways), observed, change);
  PlanConfs(facts, *device, observed.links, change);
  PlanIpv6Confs(facts, *device, observed.links, change);
  return change;
}

RouteChange RemovalOfWays(const ObservedRoutes& observed) {
  RouteChange change;
  std::ranges::copy_if(observed.routes,
                       std::back_inserter(change.removed_routes), IsRouteOfWay);
  change.removed_rules = observed.rules;
  return change;
}

std::set<std::string> SwitchedInterfaces(
    const HostFacts& facts, const std::vector<Link>& links,
    const std::set<std::string>& previous) {
  std::set<std::string> switched;
  if (facts.forwarding_everywhere) return switched;
  for (const Link* link : PublicLinks(Family::kIpv4, facts, links)) {
    if (!link->ipv4.forwarding) switched.insert(link->name);
  }
  for (const auto& name : previous) {
    const Link* link = FindLink(links, name);
    if (link && link->ipv4.forwarding) switched.insert(name);
  }
  return switched;
}

std::set<std::string> SwitchedInterfaces6(
    const HostFacts& facts, const std::vector<Link>& links,
    const std::set<std::string>& previous) {
  std::set<std::string> switched;
  if (facts.ipv6.forwarding_everywhere) return switched;
  for (const Link* link : PublicLinks(Family::kIpv6, facts, links)) {
    switched.insert(link->name);
  }
  for (const auto& name : previous) {
    const Link* link = FindLink(links, name);
    if (link && link->ipv6.force_forwarding.value_or(false)) {
      switched.insert(name);
    }
  }
  return switched;
}

}  // namespace edged::edge
