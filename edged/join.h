#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/keys.h"
#include "common/net_types.h"
#include "common/protocol/token.h"
#include "edged/core/key_replacement.h"

// The enrolment of an edge: STATE/join.yaml, written by `edged join` and
// noticed by a running edged.

namespace edged::edge {

struct Join {
  std::string token_id;
  std::string cluster_uid;  // empty: the first cluster that calls becomes it
  std::string edge;         // the EdgeNode's name
  uint16_t listen_port = 0;
  IpPrefix network;
  PrivateKey private_key;
  PublicKey control_key;
  bool operator==(const Join&) const = default;
};

// The text of join.yaml, and back. InvalidArgument names file, line, key and
// value, but never the private key.
std::string FormatJoin(const Join& join);
absl::StatusOr<Join> ParseJoin(std::string_view text, const std::string& file);

// NotFound while the edge is not enrolled.
absl::StatusOr<Join> LoadJoin(const std::string& state);

// Writes STATE/join.yaml from a token. `now` judges its expiry. Refused
// (FailedPrecondition) when the token has expired, was used here before, or
// the edge is enrolled already.
absl::StatusOr<Join> JoinWithToken(const std::string& state,
                                   std::string_view token,
                                   std::chrono::system_clock::time_point now);

// The edge's own key, STATE/key.yaml, since it replaced the token's. While
// there is none for this token, the token's. FailedPrecondition when the file
// is damaged; its content is not shown.
absl::StatusOr<OwnKeys> LoadKeys(const std::string& state, const Join& join);
absl::Status SaveKeys(const std::string& state, const Join& join,
                      const OwnKeys& keys);

// Removes the enrolment; the ids of used tokens stay. OK when there is none.
absl::Status Leave(const std::string& state);

// Lets another cluster become the owner; the tunnel stays. NotFound when the
// edge is not enrolled.
absl::Status ForgetOwner(const std::string& state);

// Asks the daemon, now or at its next start, to forget the highest epoch.
absl::Status RequestForgetEpoch(const std::string& state);
// True when that was asked; the request is then gone.
bool TakeForgetEpochRequest(const std::string& state);

std::string JoinPath(const std::string& state);
// FailedPrecondition where there is no join.yaml.
absl::Status CheckEnrolled(const std::string& state);

}  // namespace edged::edge
