#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::edge {

// Calls of the edged that serves a Unix socket. Each waits 5 s at most, and is
// Unavailable when nobody answers.
class LocalCall {
 public:
  explicit LocalCall(std::string socket);

  absl::StatusOr<v1::GetStateResponse> GetState();
  absl::StatusOr<v1::ListMappingsResponse> ListMappings(
      const v1::ListMappingsRequest& request);
  // FailedPrecondition in the edge's words.
  absl::StatusOr<v1::RotateKeyResponse> RotateKey();

 private:
  absl::Status Refused(const std::string& message) const;

  const std::string socket_;
  const std::unique_ptr<v1::EdgeService::Stub> stub_;
};

}  // namespace edged::edge
