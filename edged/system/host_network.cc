#include "edged/system/host_network.h"

#include "common/status.h"

namespace edged::edge {

absl::StatusOr<HostNetwork> Observe(netlink::Rtnetlink& rtnetlink) {
  HostNetwork host;
  ASSIGN_OR_RETURN(host.routes.links, rtnetlink.ListLinks());
  ASSIGN_OR_RETURN(host.routes.addresses, rtnetlink.ListAddresses());
  ASSIGN_OR_RETURN(host.routes.routes, rtnetlink.ListRoutes());
  ASSIGN_OR_RETURN(host.forwarding_everywhere,
                   rtnetlink.Ipv4ForwardingEverywhere());
  return host;
}

absl::Status Apply(netlink::Rtnetlink& rtnetlink, const RouteChange& change) {
  absl::Status first;
  const auto note = [&first](const absl::Status& status) {
    if (first.ok()) first = status;
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
    note(rtnetlink.RemoveRoute(route));
  }
  for (const auto& route : change.replaced_routes) {
    note(rtnetlink.ReplaceRoute(route));
  }
  for (const auto& conf : change.confs) {
    note(rtnetlink.SetIpv4Conf(conf.link, conf.conf));
  }
  return first;
}

}  // namespace edged::edge
