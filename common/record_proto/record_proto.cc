#include "common/record_proto/record_proto.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::record_proto {
namespace {

constexpr int64_t kNanosecondsPerMillisecond = 1'000'000;

// Duration's own bound, 10,000 years; nobody stops a sender from going beyond.
constexpr int64_t kMostSeconds = 315'576'000'000;

std::chrono::milliseconds Milliseconds(
    const google::protobuf::Duration& duration) {
  const int64_t seconds =
      std::clamp(duration.seconds(), -kMostSeconds, kMostSeconds);
  return std::chrono::seconds(seconds) +
         std::chrono::milliseconds(duration.nanos() /
                                   kNanosecondsPerMillisecond);
}

// The kernel keeps whole seconds.
absl::StatusOr<std::chrono::seconds> Timeout(
    const google::protobuf::Duration& duration, std::string_view group,
    std::string_view field) {
  const std::chrono::seconds value(duration.seconds());
  if (duration.nanos() == 0 && protocol::IsTimeout(value)) return value;
  return InvalidArgument(
      "group {} {}: {} s and {} ns are not whole seconds of 1 to {}", group,
      field, duration.seconds(), duration.nanos(),
      protocol::kMostTimeout.count());
}

// "WHAT FIELD: MESSAGE".
absl::Status AtField(const absl::Status& status, std::string_view what,
                     std::string_view field) {
  return Annotate(status, fmt::format("{} {}", what, field));
}

absl::StatusOr<std::vector<IpPrefix>> Prefixes(
    const google::protobuf::RepeatedPtrField<std::string>& texts,
    std::string_view group, std::string_view field) {
  std::vector<IpPrefix> prefixes;
  if (static_cast<size_t>(texts.size()) > protocol::kMostPrefixes) {
    return InvalidArgument("group {} {}: has {} prefixes, more than {}", group,
                           field, texts.size(), protocol::kMostPrefixes);
  }
  for (const std::string& text : texts) {
    auto prefix = IpPrefix::Parse(text);
    if (!prefix.ok()) {
      return AtField(prefix.status(), fmt::format("group {}", group), field);
    }
    prefixes.push_back(*prefix);
  }
  std::ranges::sort(prefixes);
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  return prefixes;
}

constexpr size_t kLongestName = 253;      // as a host name
constexpr size_t kLongestInterface = 15;  // IFNAMSIZ without the final 0

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
         c == '.' || c == '_';
}

// Names go into logs, tables and files: letters, digits, dashes, dots.
absl::Status CheckName(std::string_view what, std::string_view name) {
  if (name.empty()) return InvalidArgument("{} name: is empty", what);
  if (name.size() > kLongestName) {
    return InvalidArgument("{} name: has {} characters, more than {}", what,
                           name.size(), kLongestName);
  }
  if (!std::ranges::all_of(name, IsNameCharacter)) {
    return InvalidArgument(
        "{} name: holds something else than letters, digits, '-', '.', '_'",
        what);
  }
  return absl::OkStatus();
}

bool IsInterfaceName(std::string_view name) {
  return name.size() <= kLongestInterface && name != "." && name != ".." &&
         std::ranges::all_of(name, [](char c) {
           return absl::ascii_isgraph(static_cast<unsigned char>(c)) &&
                  c != '/' && c != ':';
         });
}

absl::StatusOr<protocol::PublicAddress> FromProto(
    const v1::PublicAddress& proto) {
  protocol::PublicAddress address;
  auto parsed = IpAddress::Parse(proto.address());
  if (!parsed.ok())
    return AtField(parsed.status(), "public address", "address");
  address.address = *parsed;
  address.interface = proto.interface();
  if (!address.interface.empty() && !IsInterfaceName(address.interface)) {
    return InvalidArgument("public address {} interface: not a device's name",
                           proto.address());
  }
  if (!proto.nic_address().empty()) {
    auto nic = IpAddress::Parse(proto.nic_address());
    if (!nic.ok()) {
      return AtField(nic.status(), "public address " + proto.address(),
                     "nic_address");
    }
    address.nic_address = *nic;
  }
  address.index = proto.index();
  return address;
}

}  // namespace

v1::Settings ToProto(const protocol::Settings& settings) {
  v1::Settings proto;
  for (const protocol::PublicAddress& address : settings.public_addresses) {
    v1::PublicAddress& added = *proto.add_public_addresses();
    added.set_address(address.address.ToString());
    added.set_interface(address.interface);
    if (address.nic_address) {
      added.set_nic_address(address.nic_address->ToString());
    }
    added.set_index(address.index);
  }
  proto.set_mtu(settings.mtu);
  const int64_t interval = settings.heartbeat_interval.count();
  proto.mutable_heartbeat_interval()->set_seconds(interval / 1000);
  proto.mutable_heartbeat_interval()->set_nanos(
      static_cast<int32_t>(interval % 1000 * kNanosecondsPerMillisecond));
  proto.set_unhealthy_threshold(settings.unhealthy_threshold);
  if (settings.network6) proto.set_network6(settings.network6->ToString());
  return proto;
}

v1::Uplink ToProto(const protocol::Uplink& uplink) {
  v1::Uplink proto;
  proto.set_name(uplink.name);
  proto.set_public_key(uplink.key.ToString());
  proto.set_block(uplink.block);
  return proto;
}

v1::Group ToProto(const protocol::Group& group) {
  v1::Group proto;
  proto.set_name(group.name);
  proto.set_public_address(group.public_address.ToString());
  proto.set_affinity(group.affinity == protocol::Affinity::kClientIp
                         ? v1::AFFINITY_CLIENT_IP
                         : v1::AFFINITY_NONE);
  for (const std::string& uplink : group.uplinks) proto.add_uplinks(uplink);
  const protocol::Timeouts& timeouts = group.timeouts;
  if (timeouts.tcp_idle.count() != 0) {
    proto.mutable_tcp_idle_timeout()->set_seconds(timeouts.tcp_idle.count());
  }
  if (timeouts.udp_session.count() != 0) {
    proto.mutable_udp_session_timeout()->set_seconds(
        timeouts.udp_session.count());
  }
  for (const IpPrefix& prefix : group.access.allow) {
    proto.add_allowed(prefix.ToString());
  }
  for (const IpPrefix& prefix : group.access.deny) {
    proto.add_denied(prefix.ToString());
  }
  return proto;
}

v1::Listener ToProto(const protocol::Listener& listener) {
  v1::Listener proto;
  proto.set_public_address(listener.public_address.ToString());
  proto.set_protocol(listener.protocol == Protocol::kTcp ? v1::PROTOCOL_TCP
                                                         : v1::PROTOCOL_UDP);
  proto.set_first_port(listener.ports.first);
  if (!listener.ports.is_single()) proto.set_last_port(listener.ports.last);
  return proto;
}

v1::Mapping ToProto(const protocol::Mapping& mapping) {
  v1::Mapping proto;
  *proto.mutable_listener() = ToProto(mapping.listener);
  proto.set_group(mapping.group);
  return proto;
}

absl::StatusOr<protocol::Settings> FromProto(const v1::Settings& proto) {
  protocol::Settings settings;
  for (const v1::PublicAddress& address : proto.public_addresses()) {
    ASSIGN_OR_RETURN(auto parsed, FromProto(address));
    settings.public_addresses.push_back(std::move(parsed));
  }
  std::ranges::sort(settings.public_addresses);
  settings.mtu = proto.mtu();
  if (settings.mtu != 0 && (settings.mtu < 576 || settings.mtu > 65535)) {
    return InvalidArgument("settings mtu: {} is neither 0 nor 576 to 65535",
                           settings.mtu);
  }
  if (proto.has_heartbeat_interval()) {
    settings.heartbeat_interval = Milliseconds(proto.heartbeat_interval());
    if (settings.heartbeat_interval < std::chrono::milliseconds(50) ||
        settings.heartbeat_interval > std::chrono::minutes(1)) {
      return InvalidArgument(
          "settings heartbeat_interval: {} ms is not 50 ms to 1 min",
          settings.heartbeat_interval.count());
    }
  }
  if (proto.unhealthy_threshold() != 0) {
    settings.unhealthy_threshold = proto.unhealthy_threshold();
  }
  if (settings.unhealthy_threshold > 100) {
    return InvalidArgument("settings unhealthy_threshold: {} is above 100",
                           settings.unhealthy_threshold);
  }
  if (!proto.network6().empty()) {
    const auto network = IpPrefix::Parse(proto.network6());
    if (!network.ok()) {
      return AtField(network.status(), "settings", "network6");
    }
    settings.network6 = *network;
  }
  return settings;
}

absl::StatusOr<protocol::Uplink> FromProto(const v1::Uplink& proto) {
  RETURN_IF_ERROR(CheckName("uplink", proto.name()));
  auto key = PublicKey::Parse(proto.public_key());
  if (!key.ok()) {
    return AtField(key.status(), "uplink " + proto.name(), "public_key");
  }
  return protocol::Uplink{proto.name(), *key, proto.block()};
}

absl::StatusOr<protocol::Group> FromProto(const v1::Group& proto) {
  RETURN_IF_ERROR(CheckName("group", proto.name()));
  auto address = IpAddress::Parse(proto.public_address());
  if (!address.ok()) {
    return AtField(address.status(), "group " + proto.name(), "public_address");
  }
  protocol::Group group;
  group.name = proto.name();
  group.public_address = *address;
  if (proto.affinity() == v1::AFFINITY_CLIENT_IP) {
    group.affinity = protocol::Affinity::kClientIp;
  } else if (proto.affinity() != v1::AFFINITY_NONE) {
    return InvalidArgument("group {} affinity: {} is not known", group.name,
                           static_cast<int>(proto.affinity()));
  }
  if (proto.uplinks_size() >= static_cast<int>(protocol::kBlocks)) {
    return InvalidArgument(
        "group {} uplinks: {} names, but an edge has at most {}", group.name,
        proto.uplinks_size(), protocol::kBlocks - 1);
  }
  group.uplinks.assign(proto.uplinks().begin(), proto.uplinks().end());
  std::ranges::sort(group.uplinks);
  if (proto.has_tcp_idle_timeout()) {
    ASSIGN_OR_RETURN(
        group.timeouts.tcp_idle,
        Timeout(proto.tcp_idle_timeout(), group.name, "tcp_idle_timeout"));
  }
  if (proto.has_udp_session_timeout()) {
    ASSIGN_OR_RETURN(group.timeouts.udp_session,
                     Timeout(proto.udp_session_timeout(), group.name,
                             "udp_session_timeout"));
  }
  ASSIGN_OR_RETURN(group.access.allow,
                   Prefixes(proto.allowed(), group.name, "allowed"));
  ASSIGN_OR_RETURN(group.access.deny,
                   Prefixes(proto.denied(), group.name, "denied"));
  return group;
}

absl::StatusOr<protocol::Listener> FromProto(const v1::Listener& proto) {
  auto address = IpAddress::Parse(proto.public_address());
  if (!address.ok()) {
    return AtField(address.status(), "listener", "public_address");
  }
  protocol::Listener listener;
  listener.public_address = *address;
  switch (proto.protocol()) {
    case v1::PROTOCOL_TCP:
      listener.protocol = Protocol::kTcp;
      break;
    case v1::PROTOCOL_UDP:
      listener.protocol = Protocol::kUdp;
      break;
    default:
      return InvalidArgument("listener {} protocol: {} is not TCP or UDP",
                             proto.public_address(),
                             static_cast<int>(proto.protocol()));
  }
  const uint32_t first = proto.first_port();
  const uint32_t last = proto.last_port() == 0 ? first : proto.last_port();
  if (first < 1 || first > 65535) {
    return InvalidArgument("listener {} first_port: {} is not 1 to 65535",
                           proto.public_address(), first);
  }
  if (last < first || last > 65535) {
    return InvalidArgument("listener {} last_port: {} is not {} to 65535",
                           proto.public_address(), last, first);
  }
  listener.ports = {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
  return listener;
}

absl::StatusOr<protocol::Mapping> FromProto(const v1::Mapping& proto) {
  ASSIGN_OR_RETURN(const protocol::Listener listener,
                   FromProto(proto.listener()));
  if (proto.group().empty()) {
    return InvalidArgument("mapping {} group: is empty", listener.ToString());
  }
  return protocol::Mapping{listener, proto.group()};
}

std::string ToProto(const protocol::Digest& digest) {
  return {digest.bytes().begin(), digest.bytes().end()};
}

absl::StatusOr<protocol::Digest> DigestFromProto(std::string_view bytes) {
  if (bytes.empty()) return protocol::Digest();
  return protocol::Digest::FromBytes(bytes);
}

}  // namespace edged::record_proto
