#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/rate_limit.h"
#include "edged/core/edge_api.h"
#include "edged/core/key_replacement.h"
#include "edged/join.h"
#include "edged/system/dataplane.h"

namespace edged::edge {

// The edge's WireGuard key: which one the device has, and its replacement, by
// core/key_replacement. Each step is on disk before it is told or made. Belongs
// to the loop thread.
class EdgeKeys {
 public:
  // `loop` and `dataplane` are borrowed. `tell` reaches the agent where one is
  // connected.
  EdgeKeys(EventLoop& loop, std::string state_folder, Join join,
           Dataplane& dataplane, std::function<void(const KeyNotice&)> tell);
  ~EdgeKeys();

  // Reads the key file, and goes on with a replacement that was under way.
  void Start();
  // An agent opens a stream: begins to replace the token's key. The answer goes
  // into Welcome; nothing is told.
  KeyNotice Contact();
  // It has written this key down.
  void AgentStored(const PublicKey& key);
  // One that was proposed already is proposed once more. Unavailable when the
  // new key cannot be written down, ResourceExhausted when too many began in a
  // row.
  absl::StatusOr<Rotation> Rotate();

  void FillStatus(EdgeStatus& status) const;

 private:
  KeyNotice Notice() const;
  bool IsTokens() const { return state_.keys.key == join_.private_key; }
  void ReplaceTokens();
  void Remind();
  bool Become(const KeyReplacement& next);
  void Watch();
  void Look();
  void Settled(const OwnKeys& before);

  EventLoop& loop_;
  const std::string state_folder_;
  const Join join_;
  Dataplane& dataplane_;
  const std::function<void(const KeyNotice&)> tell_;
  RateLimit rotations_;
  KeyReplacement state_;
  std::string damaged_;    // the key file, as it was found
  std::string not_saved_;  // what was to be written to it last
  bool contacted_ = false;
  // The device has its key since then: what it shook hands by later is proof.
  std::chrono::system_clock::time_point since_{};
  // After a fall back the token's key is left alone for a while.
  std::chrono::steady_clock::time_point not_before_{};
  EventLoop::TimerId timer_ = 0;
  EventLoop::TimerId remind_timer_ = 0;
};

}  // namespace edged::edge
