#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/keys.h"
#include "common/net_types.h"

namespace edged::protocol {

// What `clusteragent token` gives an edge to begin with. It is a secret: it
// holds the edge's first private key.
struct Token {
  std::string id;           // random, 16 hexadecimal digits
  std::string cluster_uid;  // whose edge this becomes
  std::string edge;         // the EdgeNode's name
  std::chrono::sys_seconds expires;
  uint16_t listen_port = 0;  // WireGuard, UDP
  IpPrefix network;          // overlay
  PrivateKey edge_key;       // of the edge's device
  PublicKey control_key;     // the peer that introduces agents
  bool operator==(const Token&) const = default;
};

// A token that is good for `lifetime` from now on: `known` with an id, an
// expiry and a first key of its own. InvalidArgument for a lifetime that is
// none.
absl::StatusOr<Token> IssueToken(Token known, std::chrono::seconds lifetime);

// One line of text: "edged1." and base64url without padding of a body in the
// form of common/protocol/bytes.h: the fields in the order above (the prefix as
// address and length 8, the expiry as seconds 64), then the first 8 bytes of
// SHA-256 over all that. The text is a secret, too: its owner wipes it.
std::string Encode(const Token& token);
// InvalidArgument that tells a damaged token from another version's. Expiry is
// the caller's to judge.
absl::StatusOr<Token> DecodeToken(std::string_view text);

}  // namespace edged::protocol
