#include "edged/core/record_checks.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "common/status.h"
#include "edged/core/edge_model.h"

namespace edged::edge {
namespace {

constexpr size_t kMaxGroupName = 100;  // becomes part of a chain's name
constexpr size_t kMaxUplinkName = 253;

absl::Status CheckPublicAddress(const protocol::PublicAddress& address,
                                const protocol::Overlay& overlay) {
  const std::string name = address.address.ToString();
  if (address.address.is_unspecified() || address.address.is_loopback() ||
      address.address.is_multicast() || address.address.is_ipv6_link_local() ||
      address.address.is_ipv4_mapped()) {
    return InvalidArgument("public address {} cannot be reached from outside",
                           name);
  }
  const uint32_t most = overlay.MaxIndex();
  if (address.index < 1 || address.index > most) {
    return InvalidArgument(
        "public address {} has index {}: overlay network {} has 1 to {}", name,
        address.index, overlay.network().ToString(), most);
  }
  if (address.nic_address &&
      address.nic_address->family() != address.address.family()) {
    return InvalidArgument("public address {} has nicAddress {}: two families",
                           name, address.nic_address->ToString());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<protocol::Overlay>> Overlay6Of(
    const protocol::Settings& settings) {
  if (!settings.network6) return std::nullopt;
  if (settings.network6->family() != Family::kIpv6) {
    return InvalidArgument("network6 {} is not an IPv6 network",
                           settings.network6->ToString());
  }
  ASSIGN_OR_RETURN(auto overlay, protocol::Overlay::Create(*settings.network6));
  return overlay;
}

}  // namespace

absl::Status CheckSettings(const protocol::Settings& settings,
                           const Limits& limits) {
  ASSIGN_OR_RETURN(const auto overlay6, Overlay6Of(settings));
  std::map<std::pair<Family, uint32_t>, IpAddress> by_index;
  const IpAddress* previous = nullptr;
  for (const auto& address : settings.public_addresses) {
    const bool is_ipv4 = address.address.is_ipv4();
    if (is_ipv4 || overlay6) {
      RETURN_IF_ERROR(
          CheckPublicAddress(address, is_ipv4 ? limits.overlay : *overlay6));
    }
    if (previous && address.address <= *previous) {
      return InvalidArgument("public addresses {} and {} are not sorted",
                             previous->ToString(), address.address.ToString());
    }
    const auto [other, is_new] = by_index.emplace(
        std::pair(address.address.family(), address.index), address.address);
    if (!is_new) {
      return InvalidArgument("public addresses {} and {} both have index {}",
                             other->second.ToString(),
                             address.address.ToString(), address.index);
    }
    previous = &address.address;
  }
  if (settings.mtu != 0 && (settings.mtu < 576 || settings.mtu > 65535)) {
    return InvalidArgument("tunnel MTU {} is not 576 to 65535", settings.mtu);
  }
  if (settings.heartbeat_interval.count() <= 0 ||
      settings.unhealthy_threshold == 0) {
    return InvalidArgument(
        "heartbeat interval {} ms and threshold {} must not be zero",
        settings.heartbeat_interval.count(), settings.unhealthy_threshold);
  }
  return absl::OkStatus();
}

absl::Status CheckUplinks(
    const std::map<std::string, protocol::Uplink>& uplinks) {
  std::map<uint32_t, const protocol::Uplink*> by_block;
  std::map<PublicKey, const protocol::Uplink*> by_key;
  for (const auto& [name, uplink] : uplinks) {
    if (name.empty() || uplink.key.is_zero()) {
      return InvalidArgument("uplink \"{}\" has no name or no key", name);
    }
    if (name.size() > kMaxUplinkName) {
      return InvalidArgument("uplink {}... has a name of more than {} bytes",
                             name.substr(0, 32), kMaxUplinkName);
    }
    if (uplink.block < 1 || uplink.block >= protocol::kBlocks) {
      return InvalidArgument("uplink {} has block {}: 1 to {} exist", name,
                             uplink.block, protocol::kBlocks - 1);
    }
    const auto block = by_block.emplace(uplink.block, &uplink).first->second;
    if (block != &uplink) {
      return InvalidArgument("uplinks {} and {} both have block {}",
                             block->name, name, uplink.block);
    }
    const auto key = by_key.emplace(uplink.key, &uplink).first->second;
    if (key != &uplink) {
      return InvalidArgument("uplinks {} and {} both have key {}", key->name,
                             name, uplink.key.Short());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckGroupName(std::string_view name) {
  const bool sound =
      !name.empty() && name.size() <= kMaxGroupName &&
      std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
      });
  if (sound) return absl::OkStatus();
  return InvalidArgument("\"{}\" cannot be the name of a group", name);
}

absl::Status CheckGroup(
    const protocol::Group& group, const protocol::Settings& settings,
    const std::map<std::string, protocol::Uplink>& uplinks) {
  if (!FindPublicAddress(settings, group.public_address)) {
    return InvalidArgument("group {} is of public address {}, which is unknown",
                           group.name, group.public_address.ToString());
  }
  for (const auto value :
       {group.timeouts.tcp_idle, group.timeouts.udp_session}) {
    if (value.count() == 0 || protocol::IsTimeout(value)) continue;
    return InvalidArgument(
        "group {} has a timeout of {} s, which is not 1 to {}", group.name,
        value.count(), protocol::kMostTimeout.count());
  }
  for (const auto* prefixes : {&group.access.allow, &group.access.deny}) {
    if (prefixes->size() > protocol::kMostPrefixes) {
      return InvalidArgument(
          "group {} names {} prefixes of clients, more than {}", group.name,
          prefixes->size(), protocol::kMostPrefixes);
    }
    if (std::ranges::adjacent_find(*prefixes, std::greater_equal<>()) !=
        prefixes->end()) {
      return InvalidArgument("group {} does not name its clients in order",
                             group.name);
    }
  }
  for (size_t i = 0; i < group.uplinks.size(); ++i) {
    if (!uplinks.contains(group.uplinks[i])) {
      return InvalidArgument("group {} names uplink {}, which is unknown",
                             group.name, group.uplinks[i]);
    }
    if (i > 0 && group.uplinks[i] <= group.uplinks[i - 1]) {
      return InvalidArgument("group {} does not name its uplinks in order",
                             group.name);
    }
  }
  return absl::OkStatus();
}

}  // namespace edged::edge
