#include "clusteragent/core/uplink_plan.h"

#include <fmt/format.h>
#include <linux/if_addr.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "clusteragent/core/stable_hash.h"
#include "clusteragent/core/uplink_table.h"
#include "common/protocol/overlay.h"
#include "common/protocol/tunnel_mtu.h"
#include "common/status.h"

namespace edged::agent {
namespace {

constexpr size_t kDeviceDigits = 8;
// A peer shakes hands when its keepalive is due.
constexpr uint16_t kSeekKeepaliveSeconds = 5;
constexpr int kLoose = 2;  // rp_filter

std::string HashedName(const char* prefix, const EdgePlan& edge,
                       const std::string& uplink) {
  return prefix + StableHash({edge.uid.empty() ? edge.edge : edge.uid, uplink},
                             kDeviceDigits);
}

uint32_t OwnMtu(const EdgePlan& edge, const EdgeAccess& access) {
  if (edge.mtu != 0) return edge.mtu;
  if (!access.endpoint || access.underlay_mtu == 0) return protocol::kUsualMtu;
  return protocol::TunnelMtu(access.underlay_mtu,
                             access.endpoint->address.family());
}

// Routes are limited to what comes through, where the device takes more.
void LimitRoutes(const EdgeAccess& access, UplinkDevice& device) {
  uint32_t mtu = device.own_mtu;
  if (access.path_mtu != 0) mtu = std::min(mtu, access.path_mtu);
  for (netlink::Route& route : device.routes) {
    const uint32_t most = route.destination.family() == Family::kIpv4
                              ? mtu
                              : std::max(mtu, protocol::kLeastIpv6Mtu);
    if (most < device.mtu) route.mtu = most;
  }
}

// A device with one peer, the edge, and one address of its own, from which the
// edge's API address is reached.
absl::StatusOr<UplinkDevice> MakeDevice(const EdgePlan& edge,
                                        const EdgeAccess& access,
                                        std::string name, const PrivateKey& key,
                                        const IpAddress& own,
                                        const IpAddress& api) {
  if (!access.edge_key) {
    return FailedPrecondition("EdgeNode {}: its public key is not known yet",
                              edge.edge);
  }
  UplinkDevice device{.edge = edge.edge,
                      .own_mtu = OwnMtu(edge, access),
                      .conf = {.forwarding = true, .rp_filter = kLoose}};
  device.mtu = edge.mtu != 0 ? edge.mtu
                             : protocol::DeviceMtu(
                                   device.own_mtu,
                                   protocol::WantsIpv6(edge.wanted.settings));
  device.wireguard.name = std::move(name);
  device.wireguard.private_key = key;
  device.wireguard.peers.push_back(
      {.key = *access.edge_key,
       .endpoint = access.endpoint,
       .keepalive_seconds = edge.keepalive_seconds});
  device.addresses.push_back({.address = own, .prefix_length = own.bits()});
  device.routes.push_back({.destination = IpPrefix::Host(api), .source = own});
  return device;
}

const IpPrefix& Everything(Family family) {
  static const IpPrefix kIpv4;
  static const IpPrefix kIpv6(IpAddress::FromBytes(std::array<uint8_t, 16>{}),
                              0);
  return family == Family::kIpv4 ? kIpv4 : kIpv6;
}

// What the tunnel has beside IPv4, where this host and the edge carry IPv6.
void AddIpv6(const EdgePlan& edge, const protocol::Overlay& overlay,
             UplinkDevice& device) {
  const IpAddress own = overlay.UplinkAddress(edge.own_block);
  device.addresses.push_back(
      {.address = own,
       .prefix_length = own.bits(),
       // Nobody else is on a tunnel: it need not be looked for.
       .flags = IFA_F_NODAD});
  device.routes.push_back({.destination = IpPrefix::Host(overlay.EdgeAddress()),
                           .source = own,
                           .priority = netlink::kIpv6Metric});
  device.routes.push_back({.destination = Everything(Family::kIpv6),
                           .table = kPolicyTableBase + edge.number,
                           .priority = netlink::kIpv6Metric});
}

absl::StatusOr<UplinkDevice> MakeTunnel(const EdgePlan& edge,
                                        const EdgeAccess& access,
                                        const std::string& uplink) {
  ASSIGN_OR_RETURN(const auto overlay, protocol::Overlay::Create(edge.network));
  ASSIGN_OR_RETURN(
      auto device,
      MakeDevice(edge, access, DeviceName(edge, uplink), access.own_key,
                 overlay.UplinkAddress(edge.own_block), overlay.EdgeAddress()));
  // Client addresses arrive untouched, so anything may come from the edge.
  device.wireguard.peers[0].allowed_ips = {Everything(Family::kIpv4),
                                           Everything(Family::kIpv6)};
  if (access.other_edge_key) {
    device.wireguard.peers.push_back(
        {.key = *access.other_edge_key,
         .endpoint = access.endpoint,
         .keepalive_seconds =
             access.seek_other ? kSeekKeepaliveSeconds : uint16_t{0}});
  }
  device.routes.push_back({.destination = Everything(Family::kIpv4),
                           .table = kPolicyTableBase + edge.number});
  return device;
}

// Of the families that this host and the edge carry.
using Overlays = std::map<Family, protocol::Overlay>;

absl::StatusOr<Overlays> OverlaysOf(const EdgePlan& edge,
                                    const UplinkInput& input) {
  Overlays overlays;
  ASSIGN_OR_RETURN(const auto overlay, protocol::Overlay::Create(edge.network));
  overlays.emplace(Family::kIpv4, overlay);
  const auto& network6 = edge.wanted.settings.network6;
  if (!network6 || !input.ipv6.carried) return overlays;
  ASSIGN_OR_RETURN(const auto overlay6, protocol::Overlay::Create(*network6));
  overlays.emplace(Family::kIpv6, overlay6);
  return overlays;
}

// A mapping on a public address that the edge no longer has is left out: its
// overlay address may be given to another one.
std::vector<UplinkTarget> TargetsOf(const EdgePlan& edge,
                                    const Overlays& overlays) {
  std::map<IpAddress, IpAddress> overlay_of;  // by public address
  for (const auto& ip : edge.wanted.settings.public_addresses) {
    const auto overlay = overlays.find(ip.address.family());
    if (overlay == overlays.end()) continue;
    overlay_of[ip.address] =
        overlay->second.MappingAddress(edge.own_block, ip.index);
  }
  std::vector<UplinkTarget> targets;
  for (const PlannedMapping& planned : edge.mappings) {
    const protocol::Listener& listener = planned.mapping.listener;
    const auto address = overlay_of.find(listener.public_address);
    if (address == overlay_of.end()) continue;
    for (const SocketAddress& endpoint : planned.backend.endpoints) {
      targets.push_back(
          {.address = address->second,
           .protocol = listener.protocol,
           .ports = listener.ports,
           .target = endpoint,
           .timeout = planned.timeouts.Of(listener.protocol),
           .backend = planned.service,
           .client_ip_affinity = planned.backend.client_ip_affinity});
    }
  }
  return targets;
}

bool IsForwarding(const TargetLink& link) {
  return link.family == Family::kIpv4
             ? link.conf.forwarding
             : link.ipv6.force_forwarding.value_or(false);
}

// Whether single links are ours to switch.
bool MaySwitch(Family family, const UplinkInput& input) {
  if (family == Family::kIpv4) return true;
  return input.ipv6.carried && input.ipv6.may_switch &&
         !input.ipv6.forwarding_everywhere;
}

bool ForwardsEverywhere(Family family, const UplinkInput& input) {
  return family == Family::kIpv4 ? input.forwarding_everywhere
                                 : input.ipv6.forwarding_everywhere;
}

// A host without internet of a family cannot answer its clients: the stack
// looks for a way back before any rule sees the packet, and so does rp_filter.
// This is one, with the address of a target on this host, which such answers
// come from. False when none is needed.
bool AddFallback(Family family, const UplinkInput& input,
                 const std::vector<TunnelOfEdge>& tunnels, UplinkPlan& plan) {
  if (!input.without_default.contains(family)) return false;
  std::optional<IpAddress> source;
  bool has_targets = false;
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (const UplinkTarget& target : tunnel.targets) {
      const IpAddress& address = target.target.address;
      if (address.family() != family) continue;
      has_targets = true;
      const bool is_local = std::ranges::find(input.local_addresses, address) !=
                            input.local_addresses.end();
      if (is_local && (!source || address < *source)) source = address;
    }
  }
  if (!has_targets) return false;
  plan.devices.front().routes.push_back(
      {.destination = Everything(family),
       .source = source,
       .table = kFallbackTable,
       .priority = family == Family::kIpv4 ? 0 : netlink::kIpv6Metric});
  plan.rules.push_back({.family = family,
                        .priority = kFallbackPriority,
                        .table = kFallbackTable});
  return true;
}

// Links that we switched to forwarding and that lead to no target any more.
std::vector<TargetLink> SwitchedBack(const UplinkInput& input) {
  std::vector<TargetLink> links;
  for (const TargetLink& link : input.switched_links) {
    if (ForwardsEverywhere(link.family, input)) continue;
    const bool needed = std::ranges::any_of(
        input.target_links, [&link](const TargetLink& target) {
          return target.name == link.name && target.family == link.family;
        });
    if (!needed && IsForwarding(link)) links.push_back(link);
  }
  return links;
}

// Where the host does not forward, a link does only because we made it: it is
// guarded, so that this host does not become a router for whoever is beside it.
std::vector<std::string> GuardedLinks(Family family, const UplinkInput& input) {
  std::vector<std::string> names;
  if (ForwardsEverywhere(family, input)) return names;
  const auto add = [&](const std::vector<TargetLink>& links) {
    for (const TargetLink& link : links) {
      if (link.family == family) names.push_back(link.name);
    }
  };
  add(input.target_links);
  add(SwitchedBack(input));  // until it is
  std::ranges::sort(names);
  return names;
}

std::vector<LinkConf> LinkChanges(const UplinkInput& input) {
  std::vector<LinkConf> changes;
  for (const TargetLink& link : input.target_links) {
    if (IsForwarding(link) || !MaySwitch(link.family, input)) continue;
    changes.push_back({{link.name, link.family}, true});
  }
  for (const TargetLink& link : SwitchedBack(input)) {
    if (!MaySwitch(link.family, input)) continue;
    changes.push_back({{link.name, link.family}, false});
  }
  return changes;
}

// A route that somebody puts in the place of ours is told as the new one.
bool StandsInPlace(const netlink::Route& route, const UplinkPlan& plan) {
  for (const UplinkDevice& device : plan.devices) {
    for (const netlink::Route& ours : device.routes) {
      if (ours.table == route.table && ours.destination == route.destination) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

bool ConcernsUplink(const netlink::RouteEvent& event, const UplinkPlan& plan,
                    const std::map<std::string, int>& devices) {
  const auto is_ours = [&devices](int link) {
    return std::ranges::any_of(
        devices, [link](const auto& device) { return device.second == link; });
  };
  if (const auto* link = std::get_if<netlink::Link>(&event.object)) {
    return devices.contains(link->name) || is_ours(link->index);
  }
  if (const auto* rule = std::get_if<netlink::PolicyRule>(&event.object)) {
    return rule->protocol == netlink::kRouteProtocol;
  }
  if (const auto* route = std::get_if<netlink::Route>(&event.object)) {
    return is_ours(route->link) || StandsInPlace(*route, plan);
  }
  if (const auto* address = std::get_if<netlink::Address>(&event.object)) {
    return is_ours(address->link);
  }
  return is_ours(std::get<netlink::Netconf>(event.object).link);
}

std::string DeviceName(const EdgePlan& edge, const std::string& uplink) {
  return HashedName("eu-", edge, uplink);
}

absl::StatusOr<std::optional<TunnelOfEdge>> MakeTunnelOfEdge(
    const EdgePlan& edge, const UplinkInput& input) {
  const auto access = input.access.find(edge.edge);
  if (access == input.access.end() || !access->second.edge_key ||
      edge.own_block == 0) {
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(const auto marks, MarkMask::Create(input.mark_mask));
  if (edge.number > marks.Capacity()) {
    return InvalidArgument(
        "mark mask 0x{:x}: too small for EdgeNode {}, "
        "which has number {}",
        input.mark_mask, edge.edge, edge.number);
  }
  ASSIGN_OR_RETURN(const Overlays overlays, OverlaysOf(edge, input));
  TunnelOfEdge tunnel{.device = DeviceName(edge, input.uplink),
                      .mark = marks.MarkOf(edge.number),
                      .targets = TargetsOf(edge, overlays)};
  for (const auto& [family, overlay] : overlays) {
    tunnel.edge_addresses.push_back(overlay.EdgeAddress());
    tunnel.blocks.push_back(overlay.BlockPrefix(edge.own_block));
  }
  return tunnel;
}

absl::StatusOr<UplinkPlan> MakeUplinkPlan(const Plan& plan,
                                          const UplinkInput& input) {
  ASSIGN_OR_RETURN(const auto marks, MarkMask::Create(input.mark_mask));
  UplinkPlan result;
  std::vector<TunnelOfEdge> tunnels;
  HostGuard guard{.user = input.user, .has_timeouts = input.has_timeouts};
  for (const EdgePlan& edge : plan.edges) {
    guard.control_devices.push_back(HashedName("ec-", edge, input.uplink));
    ASSIGN_OR_RETURN(auto tunnel, MakeTunnelOfEdge(edge, input));
    if (!tunnel) continue;
    const EdgeAccess& access = input.access.at(edge.edge);
    ASSIGN_OR_RETURN(auto device, MakeTunnel(edge, access, input.uplink));
    ASSIGN_OR_RETURN(const Overlays overlays, OverlaysOf(edge, input));
    for (const auto& [family, overlay] : overlays) {
      if (family == Family::kIpv6) AddIpv6(edge, overlay, device);
      result.rules.push_back({.family = family,
                              .priority = kRulePriority,
                              .mark = tunnel->mark,
                              .mask = marks.mask(),
                              .table = kPolicyTableBase + edge.number});
    }
    std::ranges::copy(tunnel->blocks, std::back_inserter(result.flows.blocks));
    LimitRoutes(access, device);
    device.force_ipv6_forwarding = MaySwitch(Family::kIpv6, input);
    for (const UplinkTarget& target : tunnel->targets) {
      if (target.protocol == Protocol::kUdp) result.flows.udp.push_back(target);
    }
    tunnels.push_back(*std::move(tunnel));
    result.devices.push_back(std::move(device));
  }
  std::ranges::sort(result.flows.udp);
  result.links = LinkChanges(input);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    if (family == Family::kIpv6 && !input.ipv6.carried) continue;
    guard.families.push_back({family, GuardedLinks(family, input),
                              AddFallback(family, input, tunnels, result)});
  }
  result.table = MakeUplinkTable(tunnels, marks, guard);
  return result;
}

absl::StatusOr<UplinkDevice> MakeControlDevice(const EdgePlan& edge,
                                               const EdgeAccess& access,
                                               const PrivateKey& control_key,
                                               const std::string& uplink) {
  ASSIGN_OR_RETURN(const auto overlay, protocol::Overlay::Create(edge.network));
  ASSIGN_OR_RETURN(
      auto device,
      MakeDevice(edge, access, HashedName("ec-", edge, uplink), control_key,
                 overlay.ControlAddress(), overlay.EdgeAddress()));
  device.conf.forwarding = false;
  device.wireguard.peers[0].allowed_ips = {
      IpPrefix::Host(overlay.EdgeAddress())};
  return device;
}

}  // namespace edged::agent
