// A datagram on the edge's heartbeat port, and its echo on the uplink.

#include "common/protocol/bytes.h"
#include "common/protocol/heartbeat.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

protocol::Digest SomeDigest() {
  protocol::Digest digest;
  digest.Add(protocol::Uplink{"a", PublicKey(), 1});
  return digest;
}

}  // namespace

bool Try(Input input) {
  const auto heartbeat = protocol::DecodeHeartbeat(input);
  if (!heartbeat.ok()) return false;
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
                            .applied = SomeDigest()})};
}

}  // namespace edged::fuzz
