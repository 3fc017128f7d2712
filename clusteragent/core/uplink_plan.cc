#include "clusteragent/core/uplink_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "clusteragent/core/stable_hash.h"
#include "clusteragent/core/uplink_table.h"
#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::agent {
namespace {

constexpr size_t kDeviceDigits = 8;
// IPv6 or IPv4 header, UDP, and WireGuard's own 32 bytes: what an MTU of 1420
// leaves of 1500.
constexpr uint32_t kTunnelOverhead = 80;
constexpr uint32_t kLeastMtu = 1280;  // what IPv6 needs (RFC 8200, section 5)
constexpr int kLoose = 2;             // rp_filter

std::string HashedName(const char* prefix, const EdgePlan& edge,
                       const std::string& uplink) {
  return prefix + StableHash({edge.uid.empty() ? edge.edge : edge.uid, uplink},
                             kDeviceDigits);
}

uint32_t Mtu(const EdgePlan& edge, const EdgeAccess& access) {
  if (edge.mtu != 0) return edge.mtu;
  return std::max(access.underlay_mtu, kLeastMtu + kTunnelOverhead) -
         kTunnelOverhead;
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
                      .mtu = Mtu(edge, access),
                      .conf = {.forwarding = true, .rp_filter = kLoose}};
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

absl::StatusOr<UplinkDevice> MakeTunnel(const EdgePlan& edge,
                                        const EdgeAccess& access,
                                        const std::string& uplink) {
  ASSIGN_OR_RETURN(const auto overlay, protocol::Overlay::Create(edge.network));
  ASSIGN_OR_RETURN(
      auto device,
      MakeDevice(edge, access, DeviceName(edge, uplink), access.own_key,
                 overlay.UplinkAddress(edge.own_block), overlay.EdgeAddress()));
  // Client addresses arrive untouched, so anything may come from the edge.
  const IpPrefix everything_ipv4;
  const IpPrefix everything_ipv6(
      IpAddress::FromBytes(std::array<uint8_t, 16>{}), 0);
  device.wireguard.peers[0].allowed_ips = {everything_ipv4, everything_ipv6};
  device.routes.push_back({.destination = everything_ipv4,
                           .table = kPolicyTableBase + edge.number});
  return device;
}

// A mapping on a public address that the edge no longer has is left out: its
// overlay address may be given to another one.
std::vector<UplinkTarget> TargetsOf(const EdgePlan& edge,
                                    const protocol::Overlay& overlay) {
  std::map<IpAddress, IpAddress> overlay_of;  // by public address
  for (const auto& ip : edge.wanted.settings.public_addresses) {
    overlay_of[ip.address] = overlay.MappingAddress(edge.own_block, ip.index);
  }
  std::vector<UplinkTarget> targets;
  for (const PlannedMapping& planned : edge.mappings) {
    const protocol::Listener& listener = planned.mapping.listener;
    const auto address = overlay_of.find(listener.public_address);
    if (address == overlay_of.end()) continue;
    targets.push_back(
        {address->second, listener.protocol, listener.ports, planned.target});
  }
  return targets;
}

// Links that we switched to forwarding and that lead to no target any more.
std::vector<TargetLink> SwitchedBack(const UplinkInput& input) {
  std::vector<TargetLink> links;
  if (input.forwarding_everywhere) return links;
  for (const TargetLink& link : input.switched_links) {
    const bool needed = std::ranges::any_of(
        input.target_links,
        [&link](const TargetLink& target) { return target.name == link.name; });
    if (!needed && link.conf.forwarding) links.push_back(link);
  }
  return links;
}

// With ip_forward=0 a link forwards only because we made it: it is guarded, so
// that this host does not become a router for whoever is beside it.
std::vector<std::string> GuardedLinks(const UplinkInput& input) {
  std::vector<std::string> names;
  if (input.forwarding_everywhere) return names;
  for (const TargetLink& link : input.target_links) names.push_back(link.name);
  // One that is switched back stays guarded until it is.
  for (const TargetLink& link : SwitchedBack(input)) names.push_back(link.name);
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::string DeviceName(const EdgePlan& edge, const std::string& uplink) {
  return HashedName("eu-", edge, uplink);
}

absl::StatusOr<UplinkPlan> MakeUplinkPlan(const Plan& plan,
                                          const UplinkInput& input) {
  ASSIGN_OR_RETURN(const auto marks, MarkMask::Create(input.mark_mask));
  UplinkPlan result;
  std::vector<TunnelOfEdge> tunnels;
  for (const EdgePlan& edge : plan.edges) {
    const auto access = input.access.find(edge.edge);
    if (access == input.access.end() || !access->second.edge_key ||
        edge.own_block == 0) {
      continue;
    }
    if (edge.number > marks.Capacity()) {
      return InvalidArgument(
          "mark mask 0x{:x}: too small for EdgeNode {}, "
          "which has number {}",
          input.mark_mask, edge.edge, edge.number);
    }
    ASSIGN_OR_RETURN(auto device,
                     MakeTunnel(edge, access->second, input.uplink));
    ASSIGN_OR_RETURN(const auto overlay,
                     protocol::Overlay::Create(edge.network));
    const uint32_t mark = marks.MarkOf(edge.number);
    result.rules.push_back({.priority = kRulePriority,
                            .mark = mark,
                            .mask = marks.mask(),
                            .table = kPolicyTableBase + edge.number});
    tunnels.push_back({device.wireguard.name, mark, TargetsOf(edge, overlay)});
    result.devices.push_back(std::move(device));
  }
  for (const TargetLink& link : input.target_links) {
    if (link.conf.forwarding) continue;
    result.links.push_back(
        {link.name, {.forwarding = true, .rp_filter = link.conf.rp_filter}});
  }
  for (const TargetLink& link : SwitchedBack(input)) {
    result.links.push_back(
        {link.name, {.forwarding = false, .rp_filter = link.conf.rp_filter}});
  }
  result.table = MakeUplinkTable(tunnels, marks, GuardedLinks(input));
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
