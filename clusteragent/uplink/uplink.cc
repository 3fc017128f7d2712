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
               netlink::Rtnetlink& rtnetlink, std::vector<std::string> devices)
    : nft_(nft),
      wireguard_(wireguard),
      rtnetlink_(rtnetlink),
      devices_(std::move(devices)) {}

bool Uplink::IsOurs(const std::string& device) const {
  return std::ranges::find(devices_, device) != devices_.end();
}

absl::StatusOr<UplinkHost> Uplink::Observe() {
  return ObserveHost(rtnetlink_);
}

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

absl::StatusOr<uint32_t> Uplink::MtuTo(const IpAddress& address) {
  ASSIGN_OR_RETURN(const auto links, rtnetlink_.ListLinks());
  ASSIGN_OR_RETURN(const netlink::Route route, rtnetlink_.RouteTo(address));
  for (const netlink::Link& link : links) {
    if (link.index == route.link) return link.mtu;
  }
  return absl::NotFoundError("no link to " + address.ToString());
}

absl::Status Uplink::Apply(const UplinkPlan& plan) {
  RETURN_IF_ERROR(ApplyTable(plan.table));
  RETURN_IF_ERROR(ApplyRules(plan.rules));
  for (const UplinkDevice& device : plan.devices) {
    RETURN_IF_ERROR(
        Annotate(ApplyDevice(device), "device " + device.wireguard.name));
  }
  for (const LinkConf& link : plan.links) {
    ASSIGN_OR_RETURN(const netlink::Link found, rtnetlink_.GetLink(link.link));
    if (found.ipv4 == link.conf) continue;
    RETURN_IF_ERROR(rtnetlink_.SetIpv4Conf(found.index, link.conf));
    spdlog::info("link {}: forwarding {}, rp_filter {}", link.link,
                 link.conf.forwarding, link.conf.rp_filter);
  }
  return RemoveOldDevices(plan);
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

absl::Status Uplink::ApplyDevice(const UplinkDevice& device) {
  const std::string& name = device.wireguard.name;
  RETURN_IF_ERROR(wireguard_.Ensure(name));
  if (!IsOurs(name)) devices_.push_back(name);
  RETURN_IF_ERROR(ApplyPeers(device));
  ASSIGN_OR_RETURN(const netlink::Link link, rtnetlink_.GetLink(name));
  RETURN_IF_ERROR(ApplyAddresses(device, link.index));
  if (!link.up || link.mtu != device.mtu) {
    RETURN_IF_ERROR(rtnetlink_.SetLink(link.index, true, device.mtu));
  }
  if (link.ipv4 != device.conf) {
    RETURN_IF_ERROR(rtnetlink_.SetIpv4Conf(link.index, device.conf));
  }
  return ApplyRoutes(device, link.index);
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
  for (netlink::Route& route : wanted) {
    route.link = link;
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

absl::Status Uplink::RemoveOldDevices(const UplinkPlan& plan) {
  std::set<std::string> wanted = control_devices_;
  for (const UplinkDevice& device : plan.devices) {
    wanted.insert(device.wireguard.name);
  }
  const std::vector<std::string> before = devices_;
  for (const std::string& name : before) {
    if (wanted.contains(name)) continue;
    RETURN_IF_ERROR(wireguard_.Remove(name));
    std::erase(devices_, name);
    dialled_.erase(name);
    spdlog::info("device {}: removed", name);
  }
  return absl::OkStatus();
}

absl::Status Uplink::AddControlDevice(const UplinkDevice& device) {
  control_devices_.insert(device.wireguard.name);
  return Annotate(ApplyDevice(device), "device " + device.wireguard.name);
}

absl::Status Uplink::RemoveControlDevice(const std::string& name) {
  control_devices_.erase(name);
  std::erase(devices_, name);
  dialled_.erase(name);
  return wireguard_.Remove(name);
}

absl::StatusOr<wireguard::Device> Uplink::Tunnel(const std::string& device) {
  return wireguard_.Get(device);
}

}  // namespace edged::agent
