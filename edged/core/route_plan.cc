#include "edged/core/route_plan.h"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "common/status.h"

namespace edged::edge {
namespace {

using netlink::Address;
using netlink::Link;
using netlink::Route;

constexpr int kLooseFilter = 2;
// What the kernel makes of an IPv6 metric of 0 (IP6_RT_PRIO_USER).
constexpr uint32_t kIpv6Metric = 1024;

const Link* FindLink(const std::vector<Link>& links, std::string_view name) {
  const auto found = std::ranges::find(links, name, &Link::name);
  return found == links.end() ? nullptr : &*found;
}

// Where public addresses arrive; lo forwards nothing.
std::vector<const Link*> PublicLinks(const HostFacts& facts,
                                     const std::vector<Link>& links) {
  std::vector<const Link*> found;
  for (const auto& [address, nic] : facts.nic_addresses) {
    const Link* link = FindLink(links, nic.interface);
    if (link && !link->loopback &&
        std::ranges::find(found, link) == found.end()) {
      found.push_back(link);
    }
  }
  return found;
}

std::string Describe(const Route& route, std::string_view device) {
  std::string text = fmt::format("route {}", route.destination.ToString());
  if (route.gateway) text += fmt::format(" via {}", route.gateway->ToString());
  if (!device.empty()) text += fmt::format(" dev {}", device);
  return text;
}

void PlanAddresses(const HostFacts& facts, int device,
                   const std::vector<Address>& observed, RouteChange& change) {
  const Address wanted{
      .link = device,
      .address = facts.limits.overlay.EdgeAddress(),
      .prefix_length = facts.limits.overlay.EdgeAddress().bits()};
  bool there = false;
  for (const Address& address : observed) {
    if (address.link != device) continue;
    if (address.address == wanted.address &&
        address.prefix_length == wanted.prefix_length) {
      there = true;
    } else if (address.scope == RT_SCOPE_UNIVERSE) {
      change.removed_addresses.push_back(address);
    }
  }
  if (!there) change.added_addresses.push_back(wanted);
}

void PlanRoutesOf(const EdgeModel& model, const HostFacts& facts, int device,
                  const std::vector<Route>& observed, RouteChange& change) {
  const protocol::Overlay& overlay = facts.limits.overlay;
  std::vector<IpPrefix> destinations{IpPrefix::Host(overlay.ControlAddress())};
  for (const auto& [name, uplink] : model.uplinks()) {
    destinations.push_back(overlay.BlockPrefix(uplink.block));
  }
  std::vector<Route> wanted;
  for (const IpPrefix& destination : destinations) {
    const bool is_ipv4 = destination.family() == Family::kIpv4;
    wanted.push_back({.destination = destination,
                      .link = device,
                      .priority = is_ipv4 ? 0 : kIpv6Metric});
  }
  std::ranges::sort(wanted);
  for (const Route& route : observed) {
    if (route.protocol == netlink::kRouteProtocol &&
        !std::ranges::binary_search(wanted, route)) {
      change.removed_routes.push_back(route);
    }
  }
  for (const Route& route : wanted) {
    if (std::ranges::find(observed, route) == observed.end()) {
      change.replaced_routes.push_back(route);
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
  if (facts.limits.overlay.network().family() != Family::kIpv4) return;
  PlanConf(device, {.forwarding = true, .rp_filter = kLooseFilter}, change);
  const auto public_links = PublicLinks(facts, links);
  for (const Link* link : public_links) {
    netlink::Ipv4Conf conf = link->ipv4;
    conf.forwarding = true;
    // Strict drops what comes in by another interface than the default route.
    const bool breaks = conf.rp_filter == 1 && public_links.size() > 1;
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
  for (const auto& route : replaced_routes) line("+", Describe(route, name));
  for (const auto& change : confs) {
    line("~",
         fmt::format("ipv4 {} forwarding {} rp_filter {}", change.interface,
                     change.conf.forwarding ? 1 : 0, change.conf.rp_filter));
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
  PlanRoutesOf(model, facts, device->index, observed.routes, change);
  PlanConfs(facts, *device, observed.links, change);
  return change;
}

std::vector<std::string> ForeignRoutesInside(const HostFacts& facts,
                                             const ObservedRoutes& observed) {
  const IpPrefix& network = facts.limits.overlay.network();
  std::vector<std::string> sentences;
  for (const Route& route : observed.routes) {
    const auto link =
        std::ranges::find(observed.links, route.link, &Link::index);
    const std::string name = link == observed.links.end() ? "" : link->name;
    if (route.table != RT_TABLE_MAIN || name == facts.device ||
        route.protocol == netlink::kRouteProtocol ||
        !network.Contains(route.destination)) {
      continue;
    }
    sentences.push_back(fmt::format("{} lies inside the overlay network {}",
                                    Describe(route, name), network.ToString()));
  }
  return sentences;
}

std::set<std::string> SwitchedInterfaces(
    const HostFacts& facts, const std::vector<Link>& links,
    const std::set<std::string>& previous) {
  std::set<std::string> switched;
  if (facts.forwarding_everywhere) return switched;
  for (const Link* link : PublicLinks(facts, links)) {
    if (!link->ipv4.forwarding) switched.insert(link->name);
  }
  for (const auto& name : previous) {
    const Link* link = FindLink(links, name);
    if (link && link->ipv4.forwarding) switched.insert(name);
  }
  return switched;
}

}  // namespace edged::edge
