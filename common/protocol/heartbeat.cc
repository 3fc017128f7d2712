#include "common/protocol/heartbeat.h"

#include <utility>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

constexpr uint32_t kMagic = 0x65646862;  // "edhb"
constexpr uint8_t kVersion = 1;
constexpr size_t kSize = 4 + 1 + 1 + 8 + 32;

constexpr uint8_t kReady = 1;
constexpr uint8_t kDraining = 2;

}  // namespace

std::string Encode(const Heartbeat& heartbeat) {
  ByteWriter writer(kSize);
  writer.Number32(kMagic);
  writer.Number8(kVersion);
  writer.Number8((heartbeat.ready ? kReady : 0) |
                 (heartbeat.draining ? kDraining : 0));
  writer.Number64(heartbeat.sequence);
  writer.Raw(heartbeat.applied.bytes());
  return std::move(writer.bytes());
}

absl::StatusOr<Heartbeat> DecodeHeartbeat(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  if (reader.Number32() != kMagic) {
    return InvalidArgument("not a heartbeat: {} bytes without its magic",
                           bytes.size());
  }
  const uint8_t version = reader.Number8();
  if (reader.ok() && version != kVersion) {
    return InvalidArgument("heartbeat of version {}, not {}", version,
                           kVersion);
  }
  if (bytes.size() != kSize) {
    return InvalidArgument("a heartbeat has {} bytes, not {}", kSize,
                           bytes.size());
  }
  Heartbeat heartbeat;
  const uint8_t flags = reader.Number8();
  heartbeat.ready = (flags & kReady) != 0;
  heartbeat.draining = (flags & kDraining) != 0;
  heartbeat.sequence = reader.Number64();
  const auto digest = reader.Raw(heartbeat.applied.bytes().size());
  ASSIGN_OR_RETURN(
      heartbeat.applied,
      Digest::FromBytes(
          {reinterpret_cast<const char*>(digest.data()), digest.size()}));
  return heartbeat;
}

}  // namespace edged::protocol
