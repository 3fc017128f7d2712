#include "clusteragent/uplink/uplink.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/drift/repair_text.h"
#include "common/netlink/ipv6_settings.h"
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

void DropIpv6(UplinkDevice& device) {
  device.force_ipv6_forwarding = false;
  std::erase_if(device.addresses, [](const netlink::Address& address) {
    return !address.address.is_ipv4();
  });
  std::erase_if(device.routes, [](const netlink::Route& route) {
    return route.destination.family() == Family::kIpv6;
  });
}

// Of those that are not empty.
std::string Joined(std::vector<std::string> texts) {
  std::erase(texts, "");
  return fmt::format("{}", fmt::join(texts, "; "));
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

template <typename... Arguments>
void Uplink::Wrote(fmt::format_string<Arguments...> format,
                   Arguments&&... arguments) {
  written_.push_back(
      fmt::format(format, std::forward<Arguments>(arguments)...));
}

absl::Status Uplink::Remember(const std::string& device) {
  if (std::ranges::find(devices_, device) != devices_.end()) {
    return absl::OkStatus();
  }
  devices_.push_back(device);
  return save_devices_(devices_);
}

absl::Status Uplink::RemoveDevice(const std::string& device) {
  made_.erase(device);
  disturbed_.erase(device);
  RETURN_IF_ERROR(wireguard_.Remove(device));
  std::erase(devices_, device);
  dialled_.erase(device);
  return save_devices_(devices_);
}

void Uplink::Disturb(const std::string& device) {
  made_.erase(device);
  disturbed_.insert(device);
}

absl::StatusOr<UplinkHost> Uplink::Observe() {
  ASSIGN_OR_RETURN(const auto links, rtnetlink_.ListLinks());
  links_ = ByIndex(links);
  return ObserveHost(rtnetlink_, links);
}

absl::StatusOr<const netlink::Link*> Uplink::FindLink(int index) {
  if (!links_.contains(index)) {
    ASSIGN_OR_RETURN(const auto links, rtnetlink_.ListLinks());
    links_ = ByIndex(links);
  }
  const auto found = links_.find(index);
  return found == links_.end() ? nullptr : &found->second;
}

absl::StatusOr<Uplink::Observed> Uplink::ObserveNetwork() {
  Observed observed;
  ASSIGN_OR_RETURN(observed.addresses, rtnetlink_.ListAddresses());
  ASSIGN_OR_RETURN(observed.routes, rtnetlink_.ListRoutes());
  return observed;
}

absl::StatusOr<Uplink::TargetRoutes> Uplink::RoutesTo(
    const std::set<IpAddress>& targets) {
  std::map<std::pair<Family, std::string>, TargetLink> used;
  TargetRoutes routes;
  for (const IpAddress& target : targets) {
    const auto route = rtnetlink_.RouteTo(target);
    if (!route.ok()) {  // events bring us back
      routes.nowhere.emplace(target, Message(route.status()));
      continue;
    }
    std::string& name = routes.links[target];
    ASSIGN_OR_RETURN(const netlink::Link* link, FindLink(route->link));
    if (link == nullptr || link->loopback) continue;
    name = link->name;
    used[{target.family(), name}] = {target.family(), name, link->ipv4,
                                     link->ipv6};
  }
  for (auto& [name, link] : used) routes.used.push_back(std::move(link));
  return routes;
}

void Uplink::TellNowhere(std::map<IpAddress, std::string> nowhere) {
  const auto is_new = [this](const auto& entry) {
    return !nowhere_.contains(entry.first);
  };
  const auto first = std::ranges::find_if(nowhere, is_new);
  if (first != nowhere.end()) {
    const auto more = std::ranges::count_if(nowhere, is_new) - 1;
    spdlog::warn("target {} is not reached: {}{}", first->first.ToString(),
                 first->second,
                 more == 0 ? "" : fmt::format(", nor are {} more", more));
  } else if (nowhere.empty() && !nowhere_.empty()) {
    spdlog::info("this host has a route to each target again");
  }
  nowhere_ = std::move(nowhere);
}

absl::StatusOr<std::vector<TargetLink>> Uplink::Find(
    const std::set<SwitchedLink>& links) {
  std::vector<TargetLink> result;
  for (const SwitchedLink& link : links) {
    const auto found = rtnetlink_.GetLink(link.name);
    if (absl::IsNotFound(found.status())) continue;
    RETURN_IF_ERROR(found.status());
    result.push_back({link.family, link.name, found->ipv4, found->ipv6});
  }
  return result;
}

absl::StatusOr<Uplink::Way> Uplink::WayTo(const IpAddress& address) {
  ASSIGN_OR_RETURN(const netlink::Route route, rtnetlink_.RouteTo(address));
  ASSIGN_OR_RETURN(const netlink::Link* link, FindLink(route.link));
  if (link == nullptr) {
    return absl::NotFoundError("no link to " + address.ToString());
  }
  // A host without a default route has one into a tunnel, for its answers
  // alone. What is behind a tunnel of ours has no say in its MTU, which would
  // follow itself, downwards with each plan.
  if (std::ranges::find(devices_, link->name) != devices_.end()) {
    return absl::NotFoundError("only a tunnel leads to " + address.ToString());
  }
  const uint32_t mtu = link->mtu;
  return Way{route.link, route.source,
             route.mtu == 0 ? mtu : std::min(mtu, route.mtu)};
}

Uplink::Outcome Uplink::Apply(const UplinkPlan& plan, Compare compare) {
  // Without its table no device may be up.
  Outcome outcome = RepairTable(plan);
  if (!outcome.status.ok()) return outcome;
  Outcome devices = ApplyDevices(plan, compare);
  devices.written = Joined({outcome.written, devices.written});
  if (const absl::Status status = RemoveOldDevices(plan); devices.status.ok()) {
    devices.status = status;
  }
  return devices;
}

Uplink::Outcome Uplink::RepairTable(const UplinkPlan& plan) {
  Outcome outcome;
  outcome.status = ApplyTable(plan.table);
  outcome.written = Joined(std::exchange(written_, {}));
  return outcome;
}

Uplink::Outcome Uplink::RepairDevices(const UplinkPlan& plan) {
  return ApplyDevices(plan, Compare::kAll);
}

Uplink::Outcome Uplink::ApplyDevices(const UplinkPlan& plan, Compare compare) {
  Outcome outcome;
  const auto note = [&outcome](const absl::Status& status) {
    if (outcome.status.ok()) outcome.status = status;
  };
  note(ApplyRules(plan.rules));
  outcome.returns = outcome.status.ok();
  if (const auto observed = ObserveNetwork(); observed.ok()) {
    for (const UplinkDevice& device : plan.devices) {
      const std::string& name = device.wireguard.name;
      const auto made = made_.find(name);
      if (compare == Compare::kChanged && made != made_.end() &&
          made->second.device == device) {
        outcome.devices.emplace(name, made->second.link);
        continue;
      }
      made_.erase(name);
      std::vector<std::string> before = std::exchange(written_, {});
      const auto link = ApplyDevice(device, *observed);
      if (disturbed_.contains(name)) {
        if (!written_.empty()) spdlog::info("{}", Joined(written_));
        written_ = std::move(before);
      } else {
        written_.insert(written_.begin(), before.begin(), before.end());
      }
      if (link.ok()) {
        disturbed_.erase(name);
        made_.emplace(name, Made{device, *link});
        outcome.devices.emplace(name, *link);
      } else {
        note(Annotate(link.status(), "device " + name));
      }
    }
    note(ApplyLinks(plan.links));
  } else {
    note(observed.status());
  }
  outcome.written = Joined(std::exchange(written_, {}));
  return outcome;
}

Uplink::Outcome Uplink::RepairPeers(const UplinkDevice& device) {
  Outcome outcome;
  if (disturbed_.contains(device.wireguard.name)) return outcome;
  outcome.status = ApplyPeers(device);
  outcome.written = Joined(std::exchange(written_, {}));
  return outcome;
}

absl::Status Uplink::ApplyLinks(const std::vector<LinkConf>& links) {
  for (const LinkConf& link : links) {
    const std::string& name = link.link.name;
    const bool is_ipv4 = link.link.family == Family::kIpv4;
    // The plan was made when it was another; by now it may be as planned.
    ASSIGN_OR_RETURN(netlink::Link found, rtnetlink_.GetLink(name));
    const bool forwards =
        is_ipv4 ? found.ipv4.forwarding : found.ipv6.force_forwarding == true;
    if (forwards == link.forwarding) continue;
    if (is_ipv4) {
      found.ipv4.forwarding = link.forwarding;
      RETURN_IF_ERROR(rtnetlink_.SetIpv4Conf(found.index, found.ipv4));
    } else {
      RETURN_IF_ERROR(netlink::SwitchIpv6Forwarding(name, link.forwarding));
    }
    Wrote("link {}: IPv{} forwarding {}", name, is_ipv4 ? 4 : 6,
          link.forwarding);
  }
  return absl::OkStatus();
}

absl::Status Uplink::ApplyTable(const nftables::Table& table) {
  ASSIGN_OR_RETURN(const nftables::Listing listing, nft_.List(table.name));
  const nftables::Transaction change = nftables::Diff(listing, table);
  if (change.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(nft_.Apply(change));
  Wrote("{}", Summary(change));
  return absl::OkStatus();
}

absl::StatusOr<int> Uplink::ApplyDevice(UplinkDevice device,
                                        const Observed& observed) {
  const std::string& name = device.wireguard.name;
  const size_t written = written_.size();
  RETURN_IF_ERROR(Remember(name));
  RETURN_IF_ERROR(wireguard_.Ensure(name));
  RETURN_IF_ERROR(ApplyPeers(device));
  ASSIGN_OR_RETURN(netlink::Link link, rtnetlink_.GetLink(name));
  if (link.mtu != device.mtu) {
    // Below 1280 there is no IPv6 on a device, so this comes first.
    RETURN_IF_ERROR(rtnetlink_.SetLink(link.index, link.up, device.mtu));
    Wrote("device {} mtu {}", name, device.mtu);
    ASSIGN_OR_RETURN(link, rtnetlink_.GetLink(name));
  }
  if (!link.ipv6.enabled) DropIpv6(device);
  RETURN_IF_ERROR(ApplyAddresses(device, link.index, observed.addresses));
  if (!link.up) {
    RETURN_IF_ERROR(rtnetlink_.SetLink(link.index, true, device.mtu));
    Wrote("device {} up, mtu {}", name, device.mtu);
  }
  if (link.ipv4 != device.conf) {
    RETURN_IF_ERROR(rtnetlink_.SetIpv4Conf(link.index, device.conf));
    Wrote("device {}: forwarding {}, rp_filter {}", name,
          device.conf.forwarding, device.conf.rp_filter);
  }
  if (device.force_ipv6_forwarding && link.ipv6.force_forwarding == false) {
    RETURN_IF_ERROR(netlink::SwitchIpv6Forwarding(name, true));
    Wrote("device {}: IPv6 forwarding true", name);
  }
  if (written_.size() == written) {
    RETURN_IF_ERROR(ApplyRoutes(device, link.index, observed.routes));
    return link.index;
  }
  // What was written to the device may have taken routes with it.
  ASSIGN_OR_RETURN(const auto routes, rtnetlink_.ListRoutes());
  RETURN_IF_ERROR(ApplyRoutes(device, link.index, routes));
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
    Wrote("device {} (edge {}): {}", name, device.edge,
          OneLine(change.ToString()));
  }
  dialled_[name] = now;
  return absl::OkStatus();
}

absl::Status Uplink::ApplyAddresses(
    const UplinkDevice& device, int link,
    const std::vector<netlink::Address>& observed) {
  for (netlink::Address address : device.addresses) {
    address.link = link;
    const bool there = std::ranges::any_of(observed, [&](const auto& other) {
      return other.link == link && other.address == address.address &&
             other.prefix_length == address.prefix_length;
    });
    if (there) continue;
    RETURN_IF_ERROR(rtnetlink_.AddAddress(address));
    Wrote("+ address {}", address.address.ToString());
  }
  for (const netlink::Address& address : observed) {
    const bool wanted = std::ranges::any_of(
        device.addresses,
        [&](const auto& other) { return other.address == address.address; });
    // Link-local IPv6 addresses are the kernel's own.
    if (address.link == link && !wanted && address.scope == kScopeGlobal) {
      RETURN_IF_ERROR(rtnetlink_.RemoveAddress(address));
      Wrote("- address {}", address.address.ToString());
    }
  }
  return absl::OkStatus();
}

absl::Status Uplink::ApplyRoutes(const UplinkDevice& device, int link,
                                 const std::vector<netlink::Route>& observed) {
  std::vector<netlink::Route> wanted = device.routes;
  const bool is_control = control_devices_.contains(device.wireguard.name);
  for (netlink::Route& route : wanted) {
    route.link = link;
    // While we introduce ourselves, the way to the edge's API is not this one.
    if (!is_control && IsTakenByControlDevice(route.destination)) continue;
    if (std::ranges::find(observed, route) == observed.end()) {
      RETURN_IF_ERROR(rtnetlink_.ReplaceRoute(route));
      Wrote("+ route {} table {}{}", route.destination.ToString(), route.table,
            route.mtu == 0 ? "" : fmt::format(" mtu {}", route.mtu));
    }
  }
  for (const netlink::Route& route : observed) {
    const bool is_wanted =
        std::ranges::any_of(wanted, [&route](netlink::Route other) {
          other.mtu = route.mtu;  // it was replaced, if by another one
          return other == route;
        });
    if (route.link == link && route.protocol == netlink::kRouteProtocol &&
        !is_wanted) {
      RETURN_IF_ERROR(rtnetlink_.RemoveRoute(route));
      Wrote("- route {} table {}", route.destination.ToString(), route.table);
    }
  }
  return absl::OkStatus();
}

absl::Status Uplink::ApplyRules(const std::vector<netlink::Rule>& rules) {
  ASSIGN_OR_RETURN(const auto observed, rtnetlink_.ListRules());
  for (const netlink::Rule& rule : rules) {
    if (std::ranges::find(observed, rule) == observed.end()) {
      RETURN_IF_ERROR(rtnetlink_.AddRule(rule));
      Wrote("+ rule fwmark {:#x} lookup {}", rule.mark, rule.table);
    }
  }
  for (const netlink::Rule& rule : observed) {
    if (rule.protocol == netlink::kRouteProtocol &&
        std::ranges::find(rules, rule) == rules.end()) {
      RETURN_IF_ERROR(rtnetlink_.RemoveRule(rule));
      Wrote("- rule fwmark {:#x} lookup {}", rule.mark, rule.table);
    }
  }
  return absl::OkStatus();
}

bool Uplink::IsTakenByControlDevice(const IpPrefix& destination) const {
  return std::ranges::any_of(control_devices_, [&](const auto& entry) {
    return entry.second.destinations.contains(destination);
  });
}

absl::Status Uplink::RemoveOldDevices(const UplinkPlan& plan) {
  std::set<std::string> wanted;
  for (const auto& [name, control] : control_devices_) wanted.insert(name);
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

// The tunnel's own route gives way to that of the control device, and comes
// back after it: no tunnel is as it was made.
absl::Status Uplink::AddControlDevice(const UplinkDevice& device) {
  const std::string& name = device.wireguard.name;
  ControlDevice& control = control_devices_[name];
  for (const netlink::Route& route : device.routes) {
    control.destinations.insert(route.destination);
  }
  for (const auto& [other, made] : made_) {
    const bool led_there = std::ranges::any_of(
        made.device.routes, [&control](const netlink::Route& route) {
          return control.destinations.contains(route.destination);
        });
    if (led_there) control.displaced.insert(other);
  }
  for (const std::string& displaced : control.displaced) Disturb(displaced);
  ASSIGN_OR_RETURN(const Observed observed, ObserveNetwork());
  const absl::Status status = ApplyDevice(device, observed).status();
  spdlog::info("{}", Joined(std::exchange(written_, {})));
  return Annotate(status, "device " + name);
}

absl::Status Uplink::RemoveControlDevice(const std::string& name) {
  const auto control = control_devices_.extract(name);
  if (!control.empty()) {
    for (const auto& displaced : control.mapped().displaced) Disturb(displaced);
  }
  return RemoveDevice(name);
}

absl::StatusOr<wireguard::Device> Uplink::Tunnel(const std::string& device) {
  return wireguard_.Get(device);
}

absl::Status Uplink::ForgetPeers(const std::string& device) {
  Disturb(device);
  ASSIGN_OR_RETURN(const wireguard::Device observed, wireguard_.Get(device));
  wireguard::DeviceChange change;
  for (const wireguard::Peer& peer : observed.peers) {
    change.removed_peers.push_back(peer.key);
  }
  return wireguard_.Apply(device, change);
}

}  // namespace edged::agent
