#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "edged/core/edge_api.h"

namespace edged::edge {

// One gRPC server on one address, with health and reflection. Stops when
// destroyed, which waits until every call has ended; calls end on the loop
// thread, so it is destroyed on another one.
class ApiServer {
 public:
  // `address`: "10.200.0.1:7443" or "unix:/run/edged/edged.sock" (root only;
  // a stale socket is replaced). FailedPrecondition when it cannot be had.
  // `loop` and `api` outlive the server.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(
      const std::string& address, EventLoop& loop, EdgeApi& api);
  virtual ~ApiServer() = default;
};

}  // namespace edged::edge
