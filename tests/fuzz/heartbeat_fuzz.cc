// A datagram on the edge's heartbeat port, and its echo on the uplink: a
// heartbeat or a path probe.

#include "common/protocol/bytes.h"
#include "common/protocol/heartbeat.h"
#include "common/protocol/path_probe.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

protocol::Digest SomeDigest() {
  protocol::Digest digest;
  digest.Add(protocol::Uplink{"a", PublicKey(), 1});
  return digest;
}

bool TryProbe(Input input) {
  const auto probe = protocol::DecodePathProbe(input);
  if (!probe.ok()) return false;
  const std::string echo = Encode(
      *probe, Family::kIpv4, protocol::PacketSize(Family::kIpv4, input.size()));
  Require(echo.size() == input.size(), "an echo is as large as its probe");
  const auto decoded = protocol::DecodePathProbe(protocol::AsBytes(echo));
  Require(decoded.ok() && *decoded == *probe,
          "a probe is read as it was written");
  return true;
}

}  // namespace

bool Try(Input input) {
  const auto heartbeat = protocol::DecodeHeartbeat(input);
  if (!heartbeat.ok()) return TryProbe(input);
  const std::string again = protocol::Encode(*heartbeat);
  Require(again.size() == input.size(), "a heartbeat has one length");
  const auto decoded = protocol::DecodeHeartbeat(protocol::AsBytes(again));
  Require(decoded.ok() && *decoded == *heartbeat,
          "a heartbeat is read as it was written");
  return true;
}

std::vector<std::string> Seeds() {
  return {protocol::Encode({}),
          protocol::Encode({.sequence = 1, .ready = true}),
          protocol::Encode({.sequence = UINT64_MAX,
                            .ready = true,
                            .draining = true,
                            .applied = SomeDigest()}),
          Encode(protocol::PathProbe{1, 1440, 0}, Family::kIpv4, 0),
          Encode(protocol::PathProbe{UINT64_MAX, UINT32_MAX, 576},
                 Family::kIpv4, 100)};
}

}  // namespace edged::fuzz
