#include "edged/core/tunnel_way.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace edged::edge {
namespace {

using netlink::Link;
using netlink::PolicyRule;
using netlink::Route;
using netlink::RouteKind;

std::string TableName(uint32_t table) {
  switch (table) {
    case RT_TABLE_LOCAL:
      return "local";
    case RT_TABLE_MAIN:
      return "main";
    case RT_TABLE_DEFAULT:
      return "default";
  }
  return fmt::format("{}", table);
}

const char* Command(Family family) {
  return family == Family::kIpv4 ? "ip" : "ip -6";
}

// As `ip route` takes it, without its table.
std::string RouteText(const Route& route, const HostRouting& host) {
  std::string text;
  if (route.kind != RouteKind::kUnicast) {
    text = std::string(ToString(route.kind)) + " ";
  }
  text += route.destination.ToString();
  if (route.gateway) text += " via " + route.gateway->ToString();
  const auto link = std::ranges::find(host.links, route.link, &Link::index);
  if (link != host.links.end() && route.kind == RouteKind::kUnicast) {
    text += " dev " + link->name;
  }
  return text;
}

// The packet may be one that the rule is for, as far as the rule tells.
bool Selects(const PolicyRule& rule, const AskedWay& way) {
  return rule.family == way.destination.family() &&
         (!rule.destination || rule.destination->Contains(way.destination)) &&
         (!rule.source || (way.source && rule.source->Contains(*way.source))) &&
         (rule.in.empty() || rule.in == way.in) &&
         (!rule.plain || rule.plain->mask == 0);
}

// The longest of a table that has the address.
const Route* LongestOf(uint32_t table, const IpAddress& address,
                       const std::vector<Route>& routes) {
  const Route* longest = nullptr;
  for (const Route& route : routes) {
    if (route.table != table || !route.destination.Contains(address)) continue;
    const bool better =
        longest == nullptr ||
        route.destination.length() > longest->destination.length() ||
        (route.destination.length() == longest->destination.length() &&
         route.priority < longest->priority);
    if (better) longest = &route;
  }
  return longest;
}

OtherWay ByRule(const PolicyRule& rule) {
  return {fmt::format("rule {}: {}", rule.priority, rule.text),
          {fmt::format("{} rule del priority {}", Command(rule.family),
                       rule.priority)}};
}

// A route, and the rule that leads to its table.
OtherWay ByRoute(const Route& route, const PolicyRule* rule,
                 const HostRouting& host,
                 const std::optional<IpPrefix>& network) {
  const std::string text = RouteText(route, host);
  OtherWay way{
      fmt::format("route {} of table {}", text, TableName(route.table)), {}};
  const char* command = Command(route.destination.family());
  const bool is_foreign = rule != nullptr && IsForeign(*rule);
  const bool is_within = network && network->Contains(route.destination);
  // The host's own way to everywhere: it is nobody's fault, and not to be
  // deleted.
  if (!is_foreign && route.table == RT_TABLE_MAIN && !is_within) {
    way.what += ", because edged's own route is not there";
    way.mend = {"systemctl restart edged"};
    return way;
  }
  if (!is_foreign) {
    way.mend.push_back(fmt::format("{} route del {} table {}", command, text,
                                   TableName(route.table)));
    return way;
  }
  way.what += fmt::format(", by rule {}: {}", rule->priority, rule->text);
  if (network && rule->priority > 0) {
    way.mend.push_back(fmt::format("{} rule add to {} lookup main priority {}",
                                   command, network->ToString(),
                                   rule->priority - 1));
  } else {
    way.mend = ByRule(*rule).mend;
  }
  return way;
}

std::optional<OtherWay> WhoRefuses(const AskedWay& way, const HostRouting& host,
                                   const std::optional<IpPrefix>& network) {
  for (const PolicyRule& rule : host.rules) {
    if (!Selects(rule, way)) continue;
    if (rule.refuses) return ByRule(rule);
    const Route* route = LongestOf(rule.table, way.destination, host.routes);
    if (route == nullptr || route->kind == RouteKind::kThrow) continue;
    if (route->kind == RouteKind::kUnicast) return std::nullopt;
    return ByRoute(*route, &rule, host, network);
  }
  return std::nullopt;
}

}  // namespace

bool IsForeign(const PolicyRule& rule) {
  return rule.protocol != netlink::kRouteProtocol &&
         !(rule.plain && rule.plain->mask == 0 &&
           (rule.table == RT_TABLE_LOCAL || rule.table == RT_TABLE_MAIN ||
            rule.table == RT_TABLE_DEFAULT));
}

std::optional<OtherWay> FindOtherWay(const AskedWay& way,
                                     const HostRouting& host,
                                     const std::string& device,
                                     const std::optional<IpPrefix>& network) {
  if (way.refused) {
    if (auto refusal = WhoRefuses(way, host, network)) return refusal;
  }
  if (!way.route) {
    return OtherWay{
        fmt::format("no route leads to {}", way.destination.ToString()),
        {fmt::format("{} route get {}", Command(way.destination.family()),
                     way.destination.ToString())}};
  }
  const auto link =
      std::ranges::find(host.links, way.route->link, &Link::index);
  if (link != host.links.end() && link->name == device) return std::nullopt;
  const auto rule =
      std::ranges::find_if(host.rules, [&way](const PolicyRule& each) {
        return each.table == way.route->table && Selects(each, way);
      });
  return ByRoute(*way.route, rule == host.rules.end() ? nullptr : &*rule, host,
                 network);
}

}  // namespace edged::edge
