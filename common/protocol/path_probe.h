#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/net_types.h"

namespace edged::protocol {

// A datagram by which an uplink finds out whether packets of its size pass the
// tunnel, both ways: the edge sends it back at the same size. It goes where
// heartbeats go, and an edge that does not know it drops it. 21 bytes: magic
// "edpp", version 1, number, MTUs (4 bytes each); then zeros. Numbers are big
// endian.
struct PathProbe {
  uint64_t number = 0;
  // What the uplink sends at most by this tunnel; 0: it does not know yet.
  uint32_t uplink_mtu = 0;
  // In the echo: what the edge's own links leave. Otherwise 0.
  uint32_t edge_mtu = 0;
  bool operator==(const PathProbe&) const = default;
};

// The datagram's payload that makes an IP packet of `packet` bytes; never less
// than the probe itself.
std::string Encode(const PathProbe& probe, Family family, uint32_t packet);
// The size of that IP packet.
uint32_t PacketSize(Family family, size_t payload);
// InvalidArgument for a wrong magic, another version, or less than 21 bytes.
absl::StatusOr<PathProbe> DecodePathProbe(std::span<const uint8_t> bytes);

}  // namespace edged::protocol
