#include "clusteragent/uplink/host.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <set>
#include <string>

#include "common/netlink/ipv6_settings.h"
#include "common/protocol/tunnel_mtu.h"
#include "common/status.h"

namespace edged::agent {
namespace {

// Two bits: nobody has a network as wide as a quarter of all addresses.
constexpr int kWidestDefault = 2;
constexpr uint8_t kScopeHost = 254;  // RT_SCOPE_HOST: 127.0.0.1, ::1

// Every device that we ever name: those of other agents of this host too.
bool IsUplinkName(const std::string& name) {
  return name.starts_with("eu-") || name.starts_with("ec-");
}

std::string WhatIsOff() {
  switch (netlink::PresenceOfIpv6()) {
    case netlink::Ipv6Presence::kOn:
      return "";
    case netlink::Ipv6Presence::kSwitchedOff:
      return "IPv6 is switched off on the host of this uplink: "
             "net.ipv6.conf.default.disable_ipv6 is 1";
    case netlink::Ipv6Presence::kNotInKernel:
      break;
  }
  return "the kernel on the host of this uplink has no IPv6";
}

}  // namespace

absl::StatusOr<UplinkHost> ObserveHost(
    netlink::Rtnetlink& rtnetlink, const std::vector<netlink::Link>& links) {
  ASSIGN_OR_RETURN(const auto addresses, rtnetlink.ListAddresses());
  ASSIGN_OR_RETURN(const auto routes, rtnetlink.ListRoutes());
  UplinkHost host;
  ASSIGN_OR_RETURN(host.forwarding_everywhere,
                   rtnetlink.ForwardingEverywhere(Family::kIpv4));
  ASSIGN_OR_RETURN(host.ipv6.forwarding_everywhere,
                   rtnetlink.ForwardingEverywhere(Family::kIpv6));
  host.ipv6.may_switch = netlink::MaySwitchIpv6Forwarding();
  host.ipv6_trouble.off = WhatIsOff();
  std::set<int> ours;
  for (const netlink::Link& link : links) {
    if (!IsUplinkName(link.name)) continue;
    ours.insert(link.index);
    // Too small an MTU is the EdgeNode's wish; its edge tells.
    if (host.ipv6_trouble.off.empty() && !link.ipv6.enabled &&
        link.mtu >= protocol::kLeastIpv6Mtu) {
      host.ipv6_trouble.off = fmt::format(
          "IPv6 is switched off on a device of this uplink: "
          "net.ipv6.conf.{}.disable_ipv6 is 1",
          link.name);
    }
  }
  host.ipv6.carried = host.ipv6_trouble.off.empty();
  if (!host.ipv6.forwarding_everywhere && !host.ipv6.may_switch) {
    host.ipv6_trouble.not_forwarding =
        "net.ipv6.conf.all.forwarding is 0 on the host of this uplink, and "
        "clusteragent may not write it: set it to 1, and before it accept_ra "
        "to 2 where a route comes by router advertisement";
  }
  for (const netlink::Address& address : addresses) {
    if (address.scope == kScopeHost || ours.contains(address.link)) continue;
    host.local_addresses.push_back(address.address);
  }
  host.without_default = {Family::kIpv4, Family::kIpv6};
  for (const netlink::Route& route : routes) {
    if (route.kind != netlink::RouteKind::kUnicast) continue;
    // Also those of an edge or an agent beside us, which have this number.
    if (ours.contains(route.link) ||
        route.protocol == netlink::kRouteProtocol) {
      continue;
    }
    if (route.destination.length() == 0) {
      if (route.table == RT_TABLE_MAIN) {
        host.without_default.erase(route.destination.family());
      }
      continue;
    }
    // 0.0.0.0/1 and the like are a VPN's default route in parts.
    if (route.destination.length() > kWidestDefault) {
      host.routes.push_back(route.destination);
    }
  }
  std::ranges::sort(host.local_addresses);
  std::ranges::sort(host.routes);
  return host;
}

}  // namespace edged::agent
