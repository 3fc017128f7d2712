#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/net_types.h"
#include "common/protocol/heartbeat.h"
#include "common/protocol/path_probe.h"

namespace edged::edge {

// Receives heartbeats and path probes on the edge's overlay address (UDP 7443,
// bound to the tunnel device) and sends each back, as large as it came. Belongs
// to the loop thread.
class HeartbeatServer {
 public:
  using Receive =
      std::function<void(const IpAddress& from, const protocol::Heartbeat&)>;
  // What the echo says of the edge's MTU; unset: there is none.
  using Probed = std::function<std::optional<uint32_t>(
      const IpAddress& from, const protocol::PathProbe&)>;

  // FailedPrecondition when the address cannot be had. `loop` outlives it.
  static absl::StatusOr<std::unique_ptr<HeartbeatServer>> Start(
      EventLoop& loop, const IpAddress& address, const std::string& device,
      Receive receive, Probed probed);
  virtual ~HeartbeatServer() = default;

  // Sends an empty datagram to an uplink: the tunnel shakes hands for it.
  virtual void Greet(const IpAddress& uplink) = 0;
};

}  // namespace edged::edge
