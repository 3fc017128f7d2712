#include "common/wireguard/uapi_codec.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <iterator>

#include "common/status.h"

namespace edged::wireguard {
namespace {

void AppendKey(SecretText& text, std::string_view name,
               std::span<const uint8_t, kKeySize> key) {
  char hex[2 * kKeySize + 1];
  sodium_bin2hex(hex, sizeof hex, key.data(), key.size());
  text.append(name).append("=").append(hex).append("\n");
  sodium_memzero(hex, sizeof hex);
}

template <typename... Args>
void AppendLine(SecretText& text, fmt::format_string<Args...> format,
                Args&&... args) {
  fmt::format_to(std::back_inserter(text), format, std::forward<Args>(args)...);
  text.push_back('\n');
}

void AppendPeer(SecretText& text, const PeerChange& change) {
  AppendKey(text, "public_key", change.key.bytes());
  // It must be the first line of its peer: wireguard-go has made the peer by
  // now, and takes it away again.
  if (!change.is_new) AppendLine(text, "update_only=true");
  if (change.endpoint) {
    AppendLine(text, "endpoint={}", change.endpoint->ToString());
  }
  if (change.keepalive_seconds) {
    AppendLine(text, "persistent_keepalive_interval={}",
               *change.keepalive_seconds);
  }
  if (change.allowed_ips) {
    AppendLine(text, "replace_allowed_ips=true");
    for (const IpPrefix& prefix : *change.allowed_ips) {
      AppendLine(text, "allowed_ip={}", prefix.ToString());
    }
  }
}

struct Line {
  std::string_view key;
  std::string_view value;
};

// Takes the first line off `text`.
absl::StatusOr<Line> NextLine(std::string_view& text) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) {
    return InvalidArgument("the reply is cut off");
  }
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) {
    return InvalidArgument("a line of the reply is not KEY=VALUE");
  }
  return Line{line.substr(0, equals), line.substr(equals + 1)};
}

template <typename Number>
absl::StatusOr<Number> NumberOf(const Line& line) {
  Number number{};
  const char* end = line.value.data() + line.value.size();
  const auto [stop, error] = std::from_chars(line.value.data(), end, number);
  if (error != std::errc() || stop != end) {
    return InvalidArgument("{}={} is not a number that fits", line.key,
                           line.value);
  }
  return number;
}

template <typename Number>
absl::Status ReadNumber(const Line& line, Number& number) {
  ASSIGN_OR_RETURN(number, NumberOf<Number>(line));
  return absl::OkStatus();
}

// PublicKey or PrivateKey. The error does not repeat the value: it may be a
// secret.
template <typename Key>
absl::StatusOr<Key> KeyOf(const Line& line) {
  std::array<uint8_t, kKeySize> bytes;
  size_t length = 0;
  if (line.value.size() != 2 * kKeySize ||
      sodium_hex2bin(bytes.data(), bytes.size(), line.value.data(),
                     line.value.size(), nullptr, &length, nullptr) != 0 ||
      length != kKeySize) {
    return InvalidArgument("{} is not {} hex digits", line.key, 2 * kKeySize);
  }
  const Key key{bytes};
  sodium_memzero(bytes.data(), bytes.size());
  return key;
}

// "[fe80::1%eth0]:51820": a SocketAddress has no room for the zone. Port 0 can
// be set, and is nowhere to send to: no endpoint.
absl::StatusOr<std::optional<SocketAddress>> EndpointOf(const Line& line) {
  if (line.value.ends_with(":0")) return std::nullopt;
  std::string text(line.value);
  if (const size_t zone = text.find('%'); zone != std::string::npos) {
    text.erase(zone, std::min(text.find(']', zone), text.size()) - zone);
  }
  ASSIGN_OR_RETURN(const SocketAddress endpoint, SocketAddress::Parse(text));
  return endpoint;
}

absl::Status ReadDeviceLine(const Line& line, Device& device) {
  if (line.key == "private_key") {
    ASSIGN_OR_RETURN(device.private_key, KeyOf<PrivateKey>(line));
    device.public_key = device.private_key.Public();
  } else if (line.key == "listen_port") {
    return ReadNumber(line, device.listen_port);
  } else if (line.key == "fwmark") {
    return ReadNumber(line, device.fwmark);
  }
  return absl::OkStatus();
}

absl::Status ReadPeerLine(const Line& line, Peer& peer) {
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  using std::chrono::system_clock;
  if (line.key == "endpoint") {
    ASSIGN_OR_RETURN(peer.endpoint, EndpointOf(line));
  } else if (line.key == "last_handshake_time_sec") {
    ASSIGN_OR_RETURN(const auto count, NumberOf<uint32_t>(line));
    peer.last_handshake = system_clock::time_point(seconds(count));
  } else if (line.key == "last_handshake_time_nsec") {
    ASSIGN_OR_RETURN(const auto count, NumberOf<uint32_t>(line));
    peer.last_handshake =
        std::chrono::floor<seconds>(peer.last_handshake) + nanoseconds(count);
  } else if (line.key == "rx_bytes") {
    return ReadNumber(line, peer.received_bytes);
  } else if (line.key == "tx_bytes") {
    return ReadNumber(line, peer.sent_bytes);
  } else if (line.key == "persistent_keepalive_interval") {
    return ReadNumber(line, peer.keepalive_seconds);
  } else if (line.key == "allowed_ip") {
    ASSIGN_OR_RETURN(peer.allowed_ips.emplace_back(),
                     IpPrefix::Parse(line.value));
  }
  return absl::OkStatus();
}

absl::Status ReadLine(const Line& line, Device& device) {
  if (line.key == "public_key") {
    ASSIGN_OR_RETURN(device.peers.emplace_back().key, KeyOf<PublicKey>(line));
    return absl::OkStatus();
  }
  if (device.peers.empty()) return ReadDeviceLine(line, device);
  Peer& peer = device.peers.back();
  return Annotate(ReadPeerLine(line, peer),
                  fmt::format("peer {}", peer.key.Short()));
}

// `text` is what follows "errno=N": nothing but the blank line.
absl::Status ReadErrno(const Line& line, std::string_view text) {
  ASSIGN_OR_RETURN(const auto error, NumberOf<int16_t>(line));
  if (text.empty()) return InvalidArgument("the reply is cut off");
  if (text != "\n") return InvalidArgument("the reply goes on after errno");
  if (error == 0) return absl::OkStatus();
  return ErrnoStatus(std::abs(error), "wireguard-go refused the request");
}

}  // namespace

SecretText EncodeUapiSet(const DeviceChange& change) {
  SecretText text = "set=1\n";
  if (change.private_key) {
    AppendKey(text, "private_key", change.private_key->bytes());
  }
  if (change.listen_port) {
    AppendLine(text, "listen_port={}", *change.listen_port);
  }
  if (change.fwmark) AppendLine(text, "fwmark={}", *change.fwmark);
  for (const PublicKey& key : change.removed_peers) {
    AppendKey(text, "public_key", key.bytes());
    AppendLine(text, "remove=true");
  }
  for (const PeerChange& peer : change.changed_peers) AppendPeer(text, peer);
  text.push_back('\n');
  return text;
}

absl::Status DecodeUapiSetReply(std::string_view reply) {
  while (true) {
    ASSIGN_OR_RETURN(const Line line, NextLine(reply));
    if (line.key == "errno") return ReadErrno(line, reply);
  }
}

absl::StatusOr<Device> DecodeUapiGetReply(std::string_view reply,
                                          std::string name) {
  Device device{.name = std::move(name)};
  while (true) {
    ASSIGN_OR_RETURN(const Line line, NextLine(reply));
    if (line.key == "errno") {
      RETURN_IF_ERROR(ReadErrno(line, reply));
      break;
    }
    RETURN_IF_ERROR(ReadLine(line, device));
  }
  std::ranges::sort(device.peers, {}, &Peer::key);
  for (Peer& peer : device.peers) std::ranges::sort(peer.allowed_ips);
  return device;
}

}  // namespace edged::wireguard
