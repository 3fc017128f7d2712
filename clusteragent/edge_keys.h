#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "clusteragent/core/key_replacement.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/paced_call.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/uplink/uplink.h"
#include "common/backoff.h"
#include "common/event_loop.h"

namespace edged::agent {

// The keys by which this uplink and one edge know each other: follows the edge
// when it replaces its own, by core/key_replacement. What the edge is told is
// on disk before. Belongs to the loop thread.
class EdgeKeys {
 public:
  struct Shell {
    std::function<void(const PublicKey&)> say_stored;  // to the edge
    std::function<bool()> hears;                       // the edge speaks
    std::function<void()> replan;                      // peers change
    std::function<KeyFollower::SteadyTime()> now =
        std::chrono::steady_clock::now;
  };

  // `loop`, `state` and `uplink` are borrowed.
  EdgeKeys(EventLoop& loop, const StateFolder& state, Uplink& uplink,
           std::string edge, Shell shell);
  ~EdgeKeys();

  // Reads the key file when it was not read yet. Where that fails the keys are
  // those of `device` if there is one: a process before this one made it, and
  // it carries traffic. A damaged file is then kept aside and written anew; one
  // that cannot be read is left alone, and the next call tries again.
  // `token_key`: the edge's, of the last token; it may be needed for that.
  absl::Status Load(const std::string& device,
                    const std::optional<PublicKey>& token_key);
  // Our own one is known, from the file or from the device.
  bool known() const { return !own_.is_zero(); }
  // The edge registered this uplink, while it had this key.
  void Registered(const PublicKey& token_key, const PublicKey& edge_key);
  // What other replicas know, where it is not from here.
  void Adopt(const EdgeEnrolment& shared);
  EdgeEnrolment enrolment() const {
    return {key_.registered_with, follower_.known};
  }
  bool registered() const { return !key_.registered_with.is_zero(); }
  bool registered_with(const PublicKey& token_key) const {
    return key_.registered_with == token_key;
  }
  PublicKey own() const { return own_; }
  // By which the edge may be reached; another one at every call where there are
  // two.
  PublicKey NextToTry();

  // The uplink's device of this edge has the peers of access().
  void Carry(const std::string& device);
  // Writes to the disk while the loop waits, so of notices that change
  // something the first few are taken at once, then the newest every second.
  void OnNotice(const EdgeKeyNotice& notice);
  void FillAccess(EdgeAccess& access) const;

 private:
  void Take(const UplinkKey& key);
  void Recall(const std::string& device,
              const std::optional<PublicKey>& token_key);
  void TakeNotice(const EdgeKeyNotice& notice);
  bool Become(const KeyFollower& next);
  void Watch();
  void Look();
  void Listen();
  bool ShouldSeekAgain() const;
  void Seek();
  std::optional<PublicKey> NewestHandshake() const;

  EventLoop& loop_;
  const StateFolder& state_;
  Uplink& uplink_;
  const std::string edge_;
  const Shell shell_;
  bool loaded_ = false;
  UplinkKey key_;
  PublicKey own_;  // of `key_`: it takes 50 us to find
  KeyFollower follower_;
  std::optional<EdgeKeyNotice> notice_;  // not taken yet
  PacedCall take_notice_;
  std::string device_;
  PublicKey carried_;  // by which the device reaches the edge
  // Until then the silence of an edge that is reached by another key, or by
  // another device, says nothing.
  KeyFollower::SteadyTime patient_until_{};
  // Since when the edge is silent, on both clocks.
  std::optional<KeyFollower::SteadyTime> silent_;
  std::chrono::system_clock::time_point silent_wall_{};
  // Of the last Seek(), and how long until the next one.
  std::chrono::system_clock::time_point sought_wall_{};
  KeyFollower::SteadyTime seek_again_{};
  Backoff seek_pause_;
  bool tried_other_ = false;
  EventLoop::TimerId follow_timer_ = 0;
  EventLoop::TimerId look_timer_ = 0;
};

}  // namespace edged::agent
