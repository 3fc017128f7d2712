#include "edged/core/arrival_ways.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "edged/core/edge_model.h"
#include "edged/core/exits.h"
#include "edged/core/group_marks.h"

namespace edged::edge {
namespace {

using netlink::Link;
using netlink::Neighbour;
using netlink::Route;
using netlink::RouteKind;
using netlink::Rule;

constexpr uint32_t kMostWays = kWayNumberBits;
// Of an interface with more routes than that, a router's, those to its
// neighbours alone.
constexpr size_t kMostCopied = 256;

bool IsDefault(const Route& route) { return route.destination.length() == 0; }

std::optional<uint8_t> NumberOfTable(uint32_t table) {
  if (table <= kWayTableBase || table > kWayTableBase + kMostWays) {
    return std::nullopt;
  }
  return static_cast<uint8_t>(table - kWayTableBase);
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

// The gateway that somebody on the link is taken for: who is alone there. It
// stays while nobody is heard; who cannot be told from others is not taken, or
// whoever speaks first would get all answers.
std::optional<IpAddress> GuessGateway(int link, Family family,
                                      const ObservedRoutes& observed) {
  const auto heard = Bringers(link, family, observed.neighbours);
  std::set<std::string> macs;
  for (const Neighbour& one : heard) macs.insert(one.mac);
  if (macs.size() == 1) {
    return std::ranges::min(heard, {}, &Neighbour::address).address;
  }
  if (!macs.empty()) return std::nullopt;
  for (const Route& route : observed.routes) {
    if (IsRouteOfWay(route) && IsDefault(route) && route.link == link &&
        route.destination.family() == family) {
      return route.gateway;
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
              const Exits& exits) {
  return exits.IsUnusual(link) ||
         (exits.usual() != 0 && exits.usual() != link &&
          IsPublic(link, family, facts));
}

std::optional<Route> FindWay(int link, Family family, const HostFacts& facts,
                             const Exits& exits,
                             const ObservedRoutes& observed) {
  if (!NeedsWay(link, family, facts, exits)) return std::nullopt;
  if (const Route* named = exits.Of(link)) return *named;
  const auto guess = GuessGateway(link, family, observed);
  if (!guess) return std::nullopt;
  return Route{
      .destination = IpPrefix(*guess, 0), .link = link, .gateway = guess};
}

// Those that the links have in the kernel already, whose connections carry
// them.
std::map<int, uint8_t> NumbersInUse(const std::vector<Route>& routes) {
  std::map<int, uint8_t> numbers;
  for (const Route& route : routes) {
    const auto number = NumberOfTable(route.table);
    if (!number || !IsRouteOfWay(route) || route.link == 0) continue;
    numbers.emplace(route.link, *number);
  }
  return numbers;
}

// Gives each way the number that its interface has or had, or a new one: one
// that nobody had while there are such.
class Numbers {
 public:
  explicit Numbers(std::map<std::string, uint8_t>& by_name)
      : by_name_(by_name) {
    for (const auto& [name, number] : by_name) taken_.insert(number);
  }
  void TakeOver(const std::string& name, uint8_t number) {
    if (by_name_.contains(name) || !taken_.insert(number).second) return;
    by_name_[name] = number;
  }
  // 0: there are no more.
  uint8_t Of(const std::string& name) {
    if (const auto known = by_name_.find(name); known != by_name_.end()) {
      return known->second;
    }
    for (uint32_t number = 1; number <= kMostWays; ++number) {
      if (!taken_.insert(static_cast<uint8_t>(number)).second) continue;
      return by_name_[name] = static_cast<uint8_t>(number);
    }
    return 0;
  }
  // Frees those that no interface of `ways` has.
  void Forget(const std::vector<ArrivalWay>& ways) {
    std::erase_if(by_name_, [&](const auto& entry) {
      const bool gone = std::ranges::find(ways, entry.first,
                                          &ArrivalWay::interface) == ways.end();
      if (gone) taken_.erase(entry.second);
      return gone;
    });
  }

 private:
  std::map<std::string, uint8_t>& by_name_;
  std::set<uint8_t> taken_;
};

void GiveNumbers(const std::vector<Route>& routes, Arrivals& arrivals) {
  Numbers numbers(arrivals.numbers);
  const std::map<int, uint8_t> in_use = NumbersInUse(routes);
  for (const ArrivalWay& way : arrivals.ways) {
    const auto known = in_use.find(way.link);
    if (known != in_use.end()) numbers.TakeOver(way.interface, known->second);
  }
  for (ArrivalWay& way : arrivals.ways) {
    way.number = numbers.Of(way.interface);
    if (way.number != 0) continue;
    numbers.Forget(arrivals.ways);
    way.number = numbers.Of(way.interface);
  }
  std::erase_if(arrivals.ways,
                [](const ArrivalWay& way) { return way.number == 0; });
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
// Where else the host has the way to the gateway does not matter there.
Route InTableOf(uint8_t number, const Route& route) {
  Route copy{.kind = route.kind,
             .destination = route.destination,
             .link = route.link,
             .gateway = route.gateway,
             .onlink = route.gateway.has_value(),
             .table = kWayTableBase + number};
  if (!copy.destination.address().is_ipv4()) {
    copy.priority = netlink::kIpv6Metric;
  }
  return copy;
}

// What a way's table has beside the default route.
bool IsToCopy(const Route& route) {
  return route.table == RT_TABLE_MAIN && !IsDefault(route) &&
         !route.destination.address().is_multicast() &&
         !route.destination.address().is_ipv6_link_local();
}

void FindRouters(const std::vector<Route>& routes, Arrivals& arrivals) {
  std::map<int, size_t> copies;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    ForEachWay(family, routes, [&copies](const Route& route) {
      if (IsToCopy(route)) ++copies[route.link];
    });
  }
  for (ArrivalWay& way : arrivals.ways) {
    way.neighbours_only = copies[way.link] > kMostCopied;
  }
}

void AddRoutesOfWay(const ArrivalWay& way, const Route& out,
                    const std::vector<Route>& observed,
                    std::vector<Route>& wanted) {
  std::set<IpPrefix> known;
  ForEachWay(out.destination.family(), observed, [&](const Route& route) {
    if (route.link != way.link || !IsToCopy(route) ||
        (way.neighbours_only && route.gateway)) {
      return;
    }
    // One for each destination: of several the one with the best metric, which
    // the kernel lists first.
    if (!known.insert(route.destination).second) return;
    wanted.push_back(InTableOf(way.number, route));
  });
  wanted.push_back(InTableOf(way.number, out));
}

void AddUnnamed(const ObservedRoutes& observed, HostFacts& facts) {
  const Exits exits4(Family::kIpv4, observed.routes, observed.early_tables);
  const Exits exits6(Family::kIpv6, observed.routes, observed.early_tables);
  for (const auto& [address, nic] : facts.nic_addresses) {
    const Exits& exits = address.is_ipv4() ? exits4 : exits6;
    const auto link = std::ranges::find(observed.links, nic.link, &Link::index);
    if (link == observed.links.end() || !MayBeWay(*link, facts) ||
        exits.usual() == 0 || exits.usual() == nic.link || exits.Of(nic.link)) {
      continue;
    }
    const auto out =
        std::ranges::find(observed.links, exits.usual(), &Link::index);
    if (out == observed.links.end()) continue;
    facts.arrivals.unnamed.push_back(
        {.address = address,
         .interface = nic.interface,
         .neighbour = GuessGateway(nic.link, address.family(), observed),
         .default_interface = out->name});
  }
}

}  // namespace

void FindArrivalWays(const protocol::Settings& settings,
                     const ObservedRoutes& observed, HostFacts& facts) {
  Arrivals& arrivals = facts.arrivals;
  arrivals = {.numbers = std::move(arrivals.numbers)};
  const Exits exits4(Family::kIpv4, observed.routes, observed.early_tables);
  const Exits exits6(Family::kIpv6, observed.routes, observed.early_tables);
  for (const Link& link : observed.links) {
    if (!MayBeWay(link, facts)) continue;
    const bool is_way = NeedsWay(link.index, Family::kIpv4, facts, exits4) ||
                        NeedsWay(link.index, Family::kIpv6, facts, exits6);
    if (is_way) {
      arrivals.ways.push_back(
          {.interface = link.name,
           .link = link.index,
           .addresses = AddressesAt(link.name, settings, facts)});
    }
    if (is_way || link.index == exits4.usual() ||
        link.index == exits6.usual()) {
      arrivals.exits.push_back(link.name);
    }
  }
  if (arrivals.ways.empty()) arrivals.exits.clear();
  FindRouters(observed.routes, arrivals);
  GiveNumbers(observed.routes, arrivals);
  AddUnnamed(observed, facts);
}

std::vector<Route> RoutesOfWays(const HostFacts& facts,
                                const ObservedRoutes& observed) {
  std::vector<Route> routes;
  if (facts.arrivals.ways.empty()) return routes;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Exits exits(family, observed.routes, observed.early_tables);
    const protocol::Overlay* overlay = facts.OverlayOf(family);
    for (const ArrivalWay& way : facts.arrivals.ways) {
      const auto out = FindWay(way.link, family, facts, exits, observed);
      if (!out) continue;
      // Whoever marks packets as their connections are, marks those to uplinks
      // for this table, too.
      if (overlay) {
        routes.push_back(InTableOf(
            way.number,
            {.kind = RouteKind::kThrow, .destination = overlay->network()}));
      }
      AddRoutesOfWay(way, *out, observed.routes, routes);
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
          .mask = GroupMarks::kMask | kWayNumberBits};
}

std::vector<std::string> WarningsOfArrivals(const HostFacts& facts) {
  std::vector<std::string> warnings;
  if (!facts.ways_trouble.empty()) {
    warnings.push_back(
        "not each answer leaves by the interface that its client came in by: " +
        facts.ways_trouble);
  }
  for (const UnnamedGateway& one : facts.arrivals.unnamed) {
    if (one.neighbour) continue;
    warnings.push_back(fmt::format(
        "no route names a gateway of {}, where {} is: answers to clients "
        "beyond its network leave by {}, and providers drop those; `ip {}route "
        "add default via GATEWAY dev {} metric 4096` names it, and takes "
        "nothing else",
        one.interface, one.address.ToString(), one.default_interface,
        one.address.is_ipv4() ? "" : "-6 ", one.interface));
  }
  return warnings;
}

}  // namespace edged::edge
