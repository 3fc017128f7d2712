#include "common/protocol/path_probe.h"

#include <algorithm>
#include <utility>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

constexpr uint32_t kMagic = 0x65647070;  // "edpp"
constexpr uint8_t kVersion = 1;
constexpr size_t kSize = 4 + 1 + 8 + 4 + 4;

// Of IP and UDP.
constexpr uint32_t HeaderSize(Family family) {
  return (family == Family::kIpv4 ? 20 : 40) + 8;
}

}  // namespace

std::string Encode(const PathProbe& probe, Family family, uint32_t packet) {
  ByteWriter writer(kSize);
  writer.Number32(kMagic);
  writer.Number8(kVersion);
  writer.Number64(probe.number);
  writer.Number32(probe.uplink_mtu);
  writer.Number32(probe.edge_mtu);
  std::string bytes = std::move(writer.bytes());
  const uint32_t header = HeaderSize(family);
  bytes.resize(std::max<size_t>(kSize, packet > header ? packet - header : 0));
  return bytes;
}

uint32_t PacketSize(Family family, size_t payload) {
  return HeaderSize(family) + static_cast<uint32_t>(payload);
}

absl::StatusOr<PathProbe> DecodePathProbe(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  if (reader.Number32() != kMagic) {
    return InvalidArgument("not a path probe: {} bytes without its magic",
                           bytes.size());
  }
  const uint8_t version = reader.Number8();
  if (reader.ok() && version != kVersion) {
    return InvalidArgument("path probe of version {}, not {}", version,
                           kVersion);
  }
  PathProbe probe;
  probe.number = reader.Number64();
  probe.uplink_mtu = reader.Number32();
  probe.edge_mtu = reader.Number32();
  if (!reader.ok()) {
    return InvalidArgument("a path probe has {} bytes at least, not {}", kSize,
                           bytes.size());
  }
  return probe;
}

}  // namespace edged::protocol
