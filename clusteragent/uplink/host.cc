#include "clusteragent/uplink/host.h"

#include <algorithm>
#include <set>
#include <string>

#include "common/status.h"

namespace edged::agent {
namespace {

constexpr uint8_t kScopeHost = 254;  // RT_SCOPE_HOST: 127.0.0.1, ::1

// Every device that we ever name: those of other agents of this host too.
bool IsUplinkName(const std::string& name) {
  return name.starts_with("eu-") || name.starts_with("ec-");
}

}  // namespace

absl::StatusOr<UplinkHost> ObserveHost(netlink::Rtnetlink& rtnetlink) {
  ASSIGN_OR_RETURN(const auto links, rtnetlink.ListLinks());
  ASSIGN_OR_RETURN(const auto addresses, rtnetlink.ListAddresses());
  ASSIGN_OR_RETURN(const auto routes, rtnetlink.ListRoutes());
  UplinkHost host;
  ASSIGN_OR_RETURN(host.forwarding_everywhere,
                   rtnetlink.Ipv4ForwardingEverywhere());
  std::set<int> ours;
  for (const netlink::Link& link : links) {
    if (IsUplinkName(link.name)) ours.insert(link.index);
  }
  for (const netlink::Address& address : addresses) {
    if (address.scope == kScopeHost || ours.contains(address.link)) continue;
    host.local_addresses.push_back(address.address);
  }
  for (const netlink::Route& route : routes) {
    if (route.destination.length() == 0 || ours.contains(route.link)) continue;
    host.routes.push_back(route.destination);
  }
  std::ranges::sort(host.local_addresses);
  std::ranges::sort(host.routes);
  return host;
}

}  // namespace edged::agent
