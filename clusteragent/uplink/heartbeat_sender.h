#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/net_types.h"
#include "common/protocol/heartbeat.h"

namespace edged::agent {

// Tells one edge every interval that this uplink lives and what it carries,
// hears the echo, and finds out what size of packets the tunnel carries
// (core/path_search.h). Belongs to the loop thread.
class HeartbeatSender {
 public:
  struct Options {
    std::string device;  // the tunnel device that it is bound to
    int link = 0;        // its index: one that was made anew is another one
    IpAddress own;       // this uplink's overlay address
    SocketAddress edge;  // the edge's API address
    std::chrono::milliseconds interval{250};
    uint32_t threshold = 3;  // echoes missed until the tunnel counts as down
    bool operator==(const Options&) const = default;
  };

  // `changed` is called when is_up() or mtu() changes. `loop` outlives the
  // sender.
  static absl::StatusOr<std::unique_ptr<HeartbeatSender>> Start(
      EventLoop& loop, const Options& options, std::function<void()> changed);
  virtual ~HeartbeatSender() = default;

  struct Word {
    bool ready = false;
    bool draining = false;  // keeps its flows, wants no new ones
  };
  // What the heartbeats say; sends one at once. Nothing is sent before.
  virtual void Say(const Word& word, const protocol::Digest& applied) = 0;
  // Echoes arrive: no more than `threshold` are missing.
  virtual bool is_up() const = 0;
  // The mtu() of a sender before this one; before SetMtu().
  virtual void ResumeMtu(uint32_t mtu) = 0;
  // What the links of this end leave, in bytes.
  virtual void SetMtu(uint32_t mtu) = 0;
  // The way to the edge is another one.
  virtual void SearchAnew() = 0;
  // The largest packet that comes through, as far as it is known; 0 before
  // SetMtu().
  virtual uint32_t mtu() const = 0;
  // The echo of one of the last two heartbeats has arrived.
  virtual bool hears() const = 0;
};

}  // namespace edged::agent
