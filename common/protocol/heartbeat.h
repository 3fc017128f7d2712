#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/protocol/digest.h"

namespace edged::protocol {

// What an uplink tells its edge every interval, in one UDP datagram to the
// edge's API address; the edge sends the same bytes back. WireGuard has
// authenticated the sender by its source address. The datagram has 46 bytes:
// magic "edhb", version 1, flags (bit 0 ready, bit 1 draining, others ignored),
// sequence, digest; numbers are big endian.
struct Heartbeat {
  uint64_t sequence = 0;
  bool ready = false;
  bool draining = false;
  Digest applied;  // of the state that this uplink carries
  bool operator==(const Heartbeat&) const = default;
};

std::string Encode(const Heartbeat& heartbeat);
// InvalidArgument for another version, a wrong magic or a wrong length.
absl::StatusOr<Heartbeat> DecodeHeartbeat(std::span<const uint8_t> bytes);

}  // namespace edged::protocol
