#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/keys.h"
#include "common/net_types.h"

// A WireGuard device as plain data, the same for both backends.

namespace edged::wireguard {

struct Peer {
  PublicKey key;
  std::optional<SocketAddress> endpoint;  // last heard there, or dialled
  std::vector<IpPrefix> allowed_ips;      // sorted
  uint16_t keepalive_seconds = 0;         // 0: off
  // Observed only; zero when unknown.
  std::chrono::system_clock::time_point last_handshake{};
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;

  bool operator==(const Peer&) const = default;
};

struct Device {
  std::string name;
  PrivateKey private_key;
  PublicKey public_key;      // observed
  uint16_t listen_port = 0;  // 0: chosen by the kernel
  uint32_t fwmark = 0;
  std::vector<Peer> peers;  // sorted by key

  bool operator==(const Device&) const = default;
};

// InvalidArgument when the kernel takes no device of that name: 1 to 15 visible
// ASCII characters, without / and :, not "." or "..".
absl::Status CheckDeviceName(std::string_view name);

}  // namespace edged::wireguard
