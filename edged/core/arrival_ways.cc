#include "edged/core/arrival_ways.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"

namespace edged::edge {
namespace {

using netlink::Link;
using netlink::Neighbour;
using netlink::Route;
using netlink::RouteKind;
using netlink::Rule;

constexpr uint32_t kNumberBits = 0xff;  // of a mark; 0: no way of its own
constexpr uint32_t kMostWays = kNumberBits;
// Of an interface with more of them than that, a router's, those to its
// neighbours alone.
constexpr size_t kMostCopied = 256;

// Of a gateway of the other family nothing is made.
bool IsOthers(const Route& route) {
  return route.kind == RouteKind::kUnicast &&
         route.protocol != netlink::kRouteProtocol &&
         (!route.gateway ||
          route.gateway->family() == route.destination.family());
}

bool IsDefault(const Route& route) { return route.destination.length() == 0; }

std::optional<uint8_t> NumberOfTable(uint32_t table) {
  if (table <= kWayTableBase || table > kWayTableBase + kMostWays) {
    return std::nullopt;
  }
  return static_cast<uint8_t>(table - kWayTableBase);
}

// The link that all packets of a family leave by which nothing leads elsewhere;
// 0: there is none, or several are as good.
int DefaultLink(Family family, const std::vector<Route>& routes) {
  std::optional<uint32_t> best;
  std::set<int> links;
  for (const Route& route : routes) {
    if (!IsDefault(route) || route.table != RT_TABLE_MAIN ||
        route.destination.family() != family || !IsOthers(route)) {
      continue;
    }
    if (best && route.priority > *best) continue;
    if (best && route.priority < *best) links.clear();
    best = route.priority;
    links.insert(route.link);
  }
  return links.size() == 1 ? *links.begin() : 0;
}

// The way from `link` to everywhere, as far as any route of the host tells: a
// default route of the main table or of another one, else the only gateway that
// routes by this link name.
std::optional<Route> WayOut(int link, Family family,
                            const std::vector<Route>& routes) {
  const auto rank = [](const Route& route) {
    return std::tuple(route.table != RT_TABLE_MAIN, route.table,
                      route.priority);
  };
  const Route* best = nullptr;
  const Route* by_gateway = nullptr;
  std::set<IpAddress> gateways;
  for (const Route& route : routes) {
    if (route.link != link || route.destination.family() != family ||
        !IsOthers(route)) {
      continue;
    }
    if (route.gateway) {
      gateways.insert(*route.gateway);
      by_gateway = &route;
    }
    if (IsDefault(route) && (!best || rank(route) < rank(*best))) {
      best = &route;
    }
  }
  if (!best && gateways.size() == 1) best = by_gateway;
  if (!best) return std::nullopt;
  Route way = *best;
  way.destination = IpPrefix(way.destination.address(), 0);
  return way;
}

// Those that may have brought what came in from afar: of IPv6 the routers,
// which say that they are, where there are any.
std::vector<Neighbour> Bringers(int link, Family family,
                                const std::vector<Neighbour>& neighbours) {
  std::vector<Neighbour> heard;
  std::ranges::copy_if(
      neighbours, std::back_inserter(heard), [&](const Neighbour& one) {
        return one.link == link && one.address.family() == family &&
               !one.address.is_multicast();
      });
  if (std::ranges::any_of(heard, &Neighbour::router)) {
    std::erase_if(heard, [](const Neighbour& one) { return !one.router; });
  }
  return heard;
}

// The gateway that somebody on the link is taken for.
struct Guess {
  IpAddress gateway;
  bool alone = true;  // nobody else comes into question
};

// Who is alone there. Once taken he stays until another one is alone, whoever
// else is heard.
std::optional<Guess> GuessGateway(int link, Family family,
                                  const ObservedRoutes& observed) {
  const auto heard = Bringers(link, family, observed.neighbours);
  std::set<std::string> macs;
  for (const Neighbour& one : heard) macs.insert(one.mac);
  if (macs.size() == 1) {
    return Guess{std::ranges::min(heard, {}, &Neighbour::address).address};
  }
  for (const Route& route : observed.routes) {
    if (IsRouteOfWay(route) && IsDefault(route) && route.link == link &&
        route.destination.family() == family && route.gateway) {
      return Guess{*route.gateway, macs.empty()};
    }
  }
  return std::nullopt;
}

// Where connections may come in by; the tunnel's do not.
bool MayBeWay(const Link& link, const HostFacts& facts) {
  return link.up && !link.loopback && link.name != facts.device;
}

// A public address of the family is there. Of other links nothing is guessed.
bool IsPublic(int link, Family family, const HostFacts& facts) {
  return std::ranges::any_of(facts.nic_addresses, [&](const auto& entry) {
    return entry.second.link == link && entry.first.family() == family;
  });
}

// Whether connections of this family that come in by the link are marked, also
// while nobody knows where to lead their answers.
bool NeedsWay(int link, Family family, const HostFacts& facts,
              const std::vector<Route>& routes) {
  const int usual = DefaultLink(family, routes);
  if (link == usual) return false;
  return WayOut(link, family, routes).has_value() ||
         (usual != 0 && IsPublic(link, family, facts));
}

std::optional<Route> FindWay(int link, Family family, const HostFacts& facts,
                             const ObservedRoutes& observed) {
  if (!NeedsWay(link, family, facts, observed.routes)) return std::nullopt;
  if (auto named = WayOut(link, family, observed.routes)) return named;
  const auto guess = GuessGateway(link, family, observed);
  if (!guess) return std::nullopt;
  return Route{.destination = IpPrefix(guess->gateway, 0),
               .link = link,
               .gateway = guess->gateway,
               .onlink = true};
}

// Those that the links have in the kernel already, whose connections carry
// them.
std::map<int, uint8_t> NumbersInUse(const std::vector<Route>& routes) {
  std::map<int, uint8_t> numbers;
  for (const Route& route : routes) {
    const auto number = NumberOfTable(route.table);
    if (!number || route.protocol != netlink::kRouteProtocol) continue;
    numbers.emplace(route.link, *number);
  }
  return numbers;
}

std::vector<ArrivalAddress> AddressesAt(const std::string& interface,
                                        const protocol::Settings& settings,
                                        const HostFacts& facts) {
  std::vector<ArrivalAddress> addresses;
  for (const auto& address : settings.public_addresses) {
    const auto nic = facts.nic_addresses.find(address.address);
    if (nic == facts.nic_addresses.end() ||
        nic->second.interface != interface) {
      continue;
    }
    addresses.push_back({nic->second.nic, address.index});
  }
  return addresses;
}

// In the table of way `number`, with the metric that the kernel would give it.
Route InTableOf(uint8_t number, const Route& route) {
  Route copy{.destination = route.destination,
             .link = route.link,
             .gateway = route.gateway,
             .onlink = route.onlink,
             .table = kWayTableBase + number};
  if (!copy.destination.address().is_ipv4()) {
    copy.priority = netlink::kIpv6Metric;
  }
  return copy;
}

void AddRoutesOfWay(const ArrivalWay& way, const Route& out,
                    const std::vector<Route>& observed,
                    std::vector<Route>& wanted) {
  const Family family = out.destination.family();
  std::vector<Route> copies;
  std::vector<Route> neighbours;
  for (const Route& route : observed) {
    if (route.link != way.link || route.table != RT_TABLE_MAIN ||
        route.destination.family() != family || IsDefault(route) ||
        !IsOthers(route) || route.destination.address().is_multicast() ||
        route.destination.address().is_ipv6_link_local()) {
      continue;
    }
    copies.push_back(InTableOf(way.number, route));
    if (!route.gateway) neighbours.push_back(copies.back());
  }
  std::vector<Route>& taken = copies.size() > kMostCopied ? neighbours : copies;
  // One for each destination: of several the one with the best metric, which
  // the kernel lists first.
  for (const Route& route : taken) {
    const bool known =
        std::ranges::any_of(wanted, [&route](const Route& other) {
          return other.table == route.table &&
                 other.destination == route.destination;
        });
    if (!known) wanted.push_back(route);
  }
  wanted.push_back(InTableOf(way.number, out));
}

// The interfaces, and their numbers.
void AddWays(const protocol::Settings& settings, const ObservedRoutes& observed,
             HostFacts& facts) {
  const auto& routes = observed.routes;
  const std::map<int, uint8_t> in_use = NumbersInUse(routes);
  std::set<uint8_t> taken;
  for (const Link& link : observed.links) {
    const bool needs = MayBeWay(link, facts) &&
                       (NeedsWay(link.index, Family::kIpv4, facts, routes) ||
                        NeedsWay(link.index, Family::kIpv6, facts, routes));
    if (!needs) continue;
    const auto known = in_use.find(link.index);
    const bool keeps =
        known != in_use.end() && taken.insert(known->second).second;
    facts.arrivals.ways.push_back(
        {.interface = link.name,
         .link = link.index,
         .number = keeps ? known->second : uint8_t{0},
         .addresses = AddressesAt(link.name, settings, facts)});
  }
  uint32_t next = 1;
  for (ArrivalWay& way : facts.arrivals.ways) {
    if (way.number != 0) continue;
    while (next <= kMostWays && taken.contains(static_cast<uint8_t>(next))) {
      ++next;
    }
    if (next <= kMostWays) way.number = static_cast<uint8_t>(next++);
  }
  std::erase_if(facts.arrivals.ways,
                [](const ArrivalWay& way) { return way.number == 0; });
}

void AddUnnamed(const ObservedRoutes& observed, HostFacts& facts) {
  const auto& routes = observed.routes;
  for (const auto& [address, nic] : facts.nic_addresses) {
    const auto link = std::ranges::find(observed.links, nic.link, &Link::index);
    const int usual = DefaultLink(address.family(), routes);
    if (link == observed.links.end() || !MayBeWay(*link, facts) || usual == 0 ||
        usual == nic.link || WayOut(nic.link, address.family(), routes)) {
      continue;
    }
    const auto out = std::ranges::find(observed.links, usual, &Link::index);
    if (out == observed.links.end()) continue;
    const auto guess = GuessGateway(nic.link, address.family(), observed);
    UnnamedGateway& unnamed = facts.arrivals.unnamed.emplace_back();
    unnamed.address = address;
    unnamed.interface = nic.interface;
    unnamed.default_interface = out->name;
    if (guess) unnamed.neighbour = guess->gateway;
    unnamed.sure = guess && guess->alone;
  }
}

}  // namespace

void FindArrivalWays(const protocol::Settings& settings,
                     const ObservedRoutes& observed, HostFacts& facts) {
  facts.arrivals = {};
  AddWays(settings, observed, facts);
  AddUnnamed(observed, facts);
}
std::vector<Route> RoutesOfWays(const HostFacts& facts,
                                const ObservedRoutes& observed) {
  std::vector<Route> routes;
  for (const ArrivalWay& way : facts.arrivals.ways) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      const auto out = FindWay(way.link, family, facts, observed);
      if (out) AddRoutesOfWay(way, *out, observed.routes, routes);
    }
  }
  return routes;
}

std::vector<Rule> RulesOfWays(const std::vector<Route>& routes) {
  std::vector<Rule> rules;
  for (const Route& route : routes) {
    if (!IsDefault(route)) continue;
    const auto number = NumberOfTable(route.table);
    if (!number) continue;
    const WayMark mark = MarkOfWay(*number);
    rules.push_back({.family = route.destination.family(),
                     .priority = kWayRulePriority,
                     .mark = mark.value,
                     .mask = mark.mask,
                     .table = route.table});
  }
  return rules;
}

bool IsRouteOfWay(const Route& route) {
  return route.protocol == netlink::kRouteProtocol &&
         NumberOfTable(route.table).has_value();
}

bool IsRuleOfWay(const Rule& rule) {
  return rule.protocol == netlink::kRouteProtocol &&
         NumberOfTable(rule.table).has_value();
}

WayMark MarkOfWay(uint8_t number) {
  return {.value = GroupMarks::kValue | number,
          .mask = GroupMarks::kMask | kNumberBits};
}

std::vector<std::string> WarningsOfArrivals(const HostFacts& facts) {
  std::vector<std::string> warnings;
  for (const UnnamedGateway& one : facts.arrivals.unnamed) {
    if (one.sure) continue;
    const std::string leave =
        one.neighbour ? fmt::format("by {}, one of several neighbours there",
                                    one.neighbour->ToString())
                      : fmt::format("by {}, and providers drop those",
                                    one.default_interface);
    warnings.push_back(fmt::format(
        "no route names a gateway of {}, where {} is: answers to clients "
        "beyond its network leave {}; `ip {}route add default via GATEWAY dev "
        "{} metric 4096` names it, and takes nothing else",
        one.interface, one.address.ToString(), leave,
        one.address.is_ipv4() ? "" : "-6 ", one.interface));
  }
  return warnings;
}

}  // namespace edged::edge
