#include "edged/system/host_network.h"

#include <unistd.h>

#include <charconv>

#include "common/files.h"
#include "common/netlink/ipv6_settings.h"
#include "common/status.h"
#include "edged/core/arrival_ways.h"
#include "edged/core/tunnel_way.h"

namespace edged::edge {

absl::StatusOr<HostNetwork> Observe(netlink::Rtnetlink& rtnetlink) {
  HostNetwork host;
  ASSIGN_OR_RETURN(host.routes.links, rtnetlink.ListLinks());
  ASSIGN_OR_RETURN(host.routes.addresses, rtnetlink.ListAddresses());
  ASSIGN_OR_RETURN(host.routes.routes, rtnetlink.ListRoutes());
  ASSIGN_OR_RETURN(const auto rules, rtnetlink.ListPolicyRules());
  constexpr uint32_t kMainPriority = 32'766;
  for (const netlink::PolicyRule& rule : rules) {
    if (IsForeign(rule) && rule.priority < kMainPriority &&
        rule.table != RT_TABLE_MAIN && !rule.source && !rule.destination &&
        rule.in.empty()) {
      host.routes.early_tables.insert(rule.table);
    }
    if (rule.table != RT_TABLE_UNSPEC) host.routes.tables.insert(rule.table);
    if (rule.plain && IsRuleOfWay(*rule.plain)) {
      host.routes.rules.push_back(*rule.plain);
    }
  }
  ASSIGN_OR_RETURN(host.forwarding_everywhere,
                   rtnetlink.ForwardingEverywhere(Family::kIpv4));
  ASSIGN_OR_RETURN(host.ipv6.forwarding_everywhere,
                   rtnetlink.ForwardingEverywhere(Family::kIpv6));
  host.ipv6.prepared =
      host.ipv6.forwarding_everywhere && access(kPreparedFile, F_OK) == 0;
  host.ipv6.may_switch = netlink::MaySwitchIpv6Forwarding();
  return host;
}

ConntrackFill ReadConntrackFill() {
  const auto read = [](const std::string& name) {
    const auto text = ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name);
    int64_t number = 0;
    if (text.ok()) {
      std::from_chars(text->data(), text->data() + text->size(), number);
    }
    return number;
  };
  return {read("count"), read("max")};
}

Applied Apply(netlink::Rtnetlink& rtnetlink, const RouteChange& change) {
  Applied applied;
  const auto note = [&applied](const absl::Status& status) {
    if (applied.status.ok()) applied.status = status;
  };
  const auto note_way = [&applied](const absl::Status& status) {
    if (applied.ways.ok()) applied.ways = status;
  };
  const auto note_route = [&](const netlink::Route& route,
                              const absl::Status& status) {
    IsRouteOfWay(route) ? note_way(status) : note(status);
  };
  if (change.device) {
    note(rtnetlink.SetLink(change.device->link, change.device->up,
                           change.device->mtu));
  }
  for (const auto& address : change.added_addresses) {
    note(rtnetlink.AddAddress(address));
  }
  for (const auto& address : change.removed_addresses) {
    note(rtnetlink.RemoveAddress(address));
  }
  for (const auto& route : change.removed_routes) {
    note_route(route, rtnetlink.RemoveRoute(route));
  }
  for (const auto& route : change.replaced_routes) {
    note_route(route, rtnetlink.ReplaceRoute(route));
  }
  for (const auto& rule : change.removed_rules) {
    note_way(rtnetlink.RemoveRule(rule));
  }
  for (const auto& rule : change.added_rules) {
    note_way(rtnetlink.AddRule(rule));
  }
  for (const auto& conf : change.confs) {
    note(rtnetlink.SetIpv4Conf(conf.link, conf.conf));
  }
  for (const auto& conf : change.ipv6_confs) {
    note(netlink::SwitchIpv6Forwarding(conf.interface, conf.force_forwarding));
  }
  return applied;
}

}  // namespace edged::edge
