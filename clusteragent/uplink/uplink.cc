#include "clusteragent/uplink/uplink.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/nftables/diff.h"
#include "common/one_line.h"
#include "common/status.h"
#include "common/wireguard/diff.h"

namespace edged::agent {
namespace {

constexpr uint8_t kScopeGlobal = 0;  // RT_SCOPE_UNIVERSE

std::map<int, netlink::Link> ByIndex(const std::vector<netlink::Link>& links) {
  std::map<int, netlink::Link> indexed;
  for (const netlink::Link& link : links) indexed.emplace(link.index, link);
  return indexed;
}

}  // namespace

Uplink::Uplink(nftables::Client& nft, wireguard::Client& wireguard,
               netlink::Rtnetlink& rtnetlink, std::vector<std::string> devices,
               SaveDevices save_devices)
    : nft_(nft),
      wireguard_(wireguard),
      rtnetlink_(rtnetlink),
      save_devices_(std::move(save_devices)),
      devices_(std::move(devices)) {}

absl::Status Uplink::Remember(const std::string& device) {
  if (std::ranges::find(devices_, device) != devices_.end()) {
    return absl::OkStatus();
  }
  devices_.push_back(device);
  return save_devices_(devices_);
}

absl::Status Uplink::RemoveDevice(const std::string& device) {
  RETURN_IF_ERROR(wireguard_.Remove(device));
  std::erase(devices_, device);
  dialled_.erase(device);
  return save_devices_(devices_);
}

absl::StatusOr<UplinkHost> Uplink::Observe() { return ObserveHost(rtnetlink_); }

absl::StatusOr<std::vector<TargetLink>> Uplink::LinksTo(
    const std::vector<IpAddress>& targets) {
  ASSIGN_OR_RETURN(const auto links, rtnetlink_.ListLinks());
  const auto by_index = ByIndex(links);
  std::map<std::string, TargetLink> found;
  for (const IpAddress& target : targets) {
    const auto route = rtnetlink_.RouteTo(target);
    if (!route.ok()) continue;  // unreachable now; events bring us back
    const auto link = by_index.find(route->link);
    if (link == by_index.end() || link->second.loopback) continue;
    found[link->second.name] = {link->second.name, link->second.ipv4};
  }
  std::vector<TargetLink> result;
  for (auto& [name, link] : found) result.push_back(std::move(link));
  return result;
}

absl::StatusOr<std::vector<TargetLink>> Uplink::LinksNamed(
    const std::set<std::string>& names) {
  std::vector<TargetLink> result;
  if (names.empty()) return result;
  ASSIGN_OR_RETURN(const auto links, rtnetlink_.ListLinks());
  for (const netlink::Link& link : links) {
    if (names.contains(link.name)) result.push_back({link.name, link.ipv4});
  }
  std::ranges::sort(result, {}, &TargetLink::name);
  return result;
}

absl::StatusOr<uint32_t> Uplink::MtuTo(const IpAddress& address) {
  ASSIGN_OR_RETURN(const auto links, rtnetlink_.ListLinks());
  ASSIGN_OR_RETURN(const netlink::Route route, rtnetlink_.RouteTo(address));
  for (const netlink::Link& link : links) {
    if (link.index == route.link) return link.mtu;
  }
  return absl::NotFoundError("no link to " + address.ToString());
}

Uplink::Outcome Uplink::Apply(const UplinkPlan& plan) {
  Outcome outcome;
  const auto note = [&outcome](const absl::Status& status) {
    if (outcome.status.ok()) outcome.status = status;
  };
  // Without its table no device may be up.
  outcome.status = ApplyTable(plan.table);
  if (!outcome.status.ok()) return outcome;
  note(ApplyRules(plan.rules));
  for (const UplinkDevice& device : plan.devices) {
    const std::string& name = device.wireguard.name;
    const auto link = ApplyDevice(device);
    if (link.ok()) {
      outcome.devices.emplace(name, *link);
    } else {
      note(Annotate(link.status(), "device " + name));
    }
  }
  note(ApplyLinks(plan.links));
  note(RemoveOldDevices(plan));
  return outcome;
}

absl::Status Uplink::ApplyLinks(const std::vector<LinkConf>& links) {
  for (const LinkConf& link : links) {
    ASSIGN_OR_RETURN(const netlink::Link found, rtnetlink_.GetLink(link.link));
    if (found.ipv4 == link.conf) continue;
    RETURN_IF_ERROR(rtnetlink_.SetIpv4Conf(found.index, link.conf));
    spdlog::info("link {}: forwarding {}, rp_filter {}", link.link,
                 link.conf.forwarding, link.conf.rp_filter);
  }
  return absl::OkStatus();
}

absl::Status Uplink::ApplyTable(const nftables::Table& table) {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const nftables::Listing listing, nft_.List(table.name));
  const nftables::Transaction change = nftables::Diff(listing, table);
  if (change.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(nft_.Apply(change));
  spdlog::info("table inet {}: {} changes, {:.2f} ms", table.name,
               change.operations().size(),
               std::chrono::duration<double, std::milli>(
                   std::chrono::steady_clock::now() - start)
                   .count());
  return absl::OkStatus();
}

absl::StatusOr<int> Uplink::ApplyDevice(const UplinkDevice& device) {
  const std::string& name = device.wireguard.name;
  RETURN_IF_ERROR(Remember(name));
  RETURN_IF_ERROR(wireguard_.Ensure(name));
  RETURN_IF_ERROR(ApplyPeers(device));
  ASSIGN_OR_RETURN(const netlink::Link link, rtnetlink_.GetLink(name));
  RETURN_IF_ERROR(ApplyAddresses(device, link.index));
  if (!link.up || link.mtu != device.mtu) {
    RETURN_IF_ERROR(rtnetlink_.SetLink(link.index, true, device.mtu));
  }
  if (link.ipv4 != device.conf) {
    RETURN_IF_ERROR(rtnetlink_.SetIpv4Conf(link.index, device.conf));
  }
  RETURN_IF_ERROR(ApplyRoutes(device, link.index));
  return link.index;
}

absl::Status Uplink::ApplyPeers(const UplinkDevice& device) {
  const std::string& name = device.wireguard.name;
  ASSIGN_OR_RETURN(const wireguard::Device observed, wireguard_.Get(name));
  Dialled now;
  if (!device.wireguard.peers.empty()) {
    now.endpoint = device.wireguard.peers[0].endpoint;
  }
  if (now.endpoint) {
    const auto route = rtnetlink_.RouteTo(now.endpoint->address);
    if (route.ok()) now.source = route->source;
  }
  // A device may go on sending from an address that this host has lost until
  // its endpoint is set anew (wireguard-go: for 15 s).
  const auto before = dialled_.find(name);
  const bool moved = before != dialled_.end() && before->second != now;
  const wireguard::DeviceChange change =
      wireguard::Diff(observed, device.wireguard, moved);
  if (!change.empty()) {
    RETURN_IF_ERROR(wireguard_.Apply(name, change));
    spdlog::info("device {} (edge {}): {}", name, device.edge,
                 OneLine(change.ToString()));
  }
  dialled_[name] = now;
  return absl::OkStatus();
}

absl::Status Uplink::ApplyAddresses(const UplinkDevice& device, int link) {
  ASSIGN_OR_RETURN(const auto observed, rtnetlink_.ListAddresses());
  for (netlink::Address address : device.addresses) {
    address.link = link;
    const bool there = std::ranges::any_of(observed, [&](const auto& other) {
      return other.link == link && other.address == address.address &&
             other.prefix_length == address.prefix_length;
    });
    if (!there) RETURN_IF_ERROR(rtnetlink_.AddAddress(address));
  }
  for (const netlink::Address& address : observed) {
    const bool wanted = std::ranges::any_of(
        device.addresses,
        [&](const auto& other) { return other.address == address.address; });
    // Link-local IPv6 addresses are the kernel's own.
    if (address.link == link && !wanted && address.scope == kScopeGlobal) {
      RETURN_IF_ERROR(rtnetlink_.RemoveAddress(address));
    }
  }
  return absl::OkStatus();
}

absl::Status Uplink::ApplyRoutes(const UplinkDevice& device, int link) {
  ASSIGN_OR_RETURN(const auto observed, rtnetlink_.ListRoutes());
  std::vector<netlink::Route> wanted = device.routes;
  const bool is_control = control_devices_.contains(device.wireguard.name);
  for (netlink::Route& route : wanted) {
    route.link = link;
    // While we introduce ourselves, the way to the edge's API is not this one.
    if (!is_control && IsTakenByControlDevice(route.destination)) continue;
    if (std::ranges::find(observed, route) == observed.end()) {
      RETURN_IF_ERROR(rtnetlink_.ReplaceRoute(route));
    }
  }
  for (const netlink::Route& route : observed) {
    if (route.link == link && route.protocol == netlink::kRouteProtocol &&
        std::ranges::find(wanted, route) == wanted.end()) {
      RETURN_IF_ERROR(rtnetlink_.RemoveRoute(route));
    }
  }
  return absl::OkStatus();
}

absl::Status Uplink::ApplyRules(const std::vector<netlink::Rule>& rules) {
  ASSIGN_OR_RETURN(const auto observed, rtnetlink_.ListRules());
  for (const netlink::Rule& rule : rules) {
    if (std::ranges::find(observed, rule) == observed.end()) {
      RETURN_IF_ERROR(rtnetlink_.AddRule(rule));
    }
  }
  for (const netlink::Rule& rule : observed) {
    if (rule.protocol == netlink::kRouteProtocol &&
        std::ranges::find(rules, rule) == rules.end()) {
      RETURN_IF_ERROR(rtnetlink_.RemoveRule(rule));
    }
  }
  return absl::OkStatus();
}

bool Uplink::IsTakenByControlDevice(const IpPrefix& destination) const {
  return std::ranges::any_of(control_devices_, [&](const auto& entry) {
    return entry.second.contains(destination);
  });
}

absl::Status Uplink::RemoveOldDevices(const UplinkPlan& plan) {
  std::set<std::string> wanted;
  for (const auto& [name, destinations] : control_devices_) wanted.insert(name);
  for (const UplinkDevice& device : plan.devices) {
    wanted.insert(device.wireguard.name);
  }
  const std::vector<std::string> before = devices_;
  for (const std::string& name : before) {
    if (wanted.contains(name)) continue;
    RETURN_IF_ERROR(RemoveDevice(name));
    spdlog::info("device {}: removed", name);
  }
  return absl::OkStatus();
}

absl::Status Uplink::AddControlDevice(const UplinkDevice& device) {
  const std::string& name = device.wireguard.name;
  std::set<IpPrefix>& destinations = control_devices_[name];
  for (const netlink::Route& route : device.routes) {
    destinations.insert(route.destination);
  }
  return Annotate(ApplyDevice(device).status(), "device " + name);
}

absl::Status Uplink::RemoveControlDevice(const std::string& name) {
  control_devices_.erase(name);
  return RemoveDevice(name);
}

absl::StatusOr<wireguard::Device> Uplink::Tunnel(const std::string& device) {
  return wireguard_.Get(device);
}

}  // namespace edged::agent
