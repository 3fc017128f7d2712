#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/protocol/overlay.h"
#include "edged/core/edge_api.h"
#include "edged/core/edge_model.h"
#include "edged/core/health_policy.h"
#include "edged/system/heartbeat_server.h"

namespace edged::edge {

// Hears what an edge's uplinks say by the tunnel, and judges from it who is
// alive. It does nothing about it: that is its owner's. Belongs to the loop
// thread.
class UplinkWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Clock = std::function<Time()>;

  // The edge that it hears for.
  class Owner {
   public:
    virtual ~Owner() = default;

    // What uplinks say may be something else than before. They may say so
    // without end: at most every 5 ms, and for a fifth of the loop's time.
    virtual void Heed() = 0;
    // Time has passed: somebody may have been silent for too long.
    virtual void JudgeHealth() = 0;
    // An uplink's probe. Returns the MTU that its echo names. What comes of
    // it waits for Heed(), which is to be asked for.
    virtual uint32_t OnProbe(const std::string& uplink,
                             const protocol::PathProbe& probe) = 0;
    // What the tunnel's device has received from each of its peers.
    virtual std::map<PublicKey, uint64_t> ReceivedBytes() = 0;
    // This host has a way to an uplink.
    virtual bool HasWay() = 0;
    // Gives peers that were not heard since the start another chance.
    virtual void RenewSilentPeers() = 0;
  };

  // Opens the socket on the tunnel's device.
  using Serve = std::function<absl::StatusOr<std::unique_ptr<HeartbeatServer>>(
      HeartbeatServer::Receive, HeartbeatServer::Probed)>;

  // All are borrowed and outlive it. `clock` is the time that timers of `loop`
  // go by.
  UplinkWatch(EventLoop& loop, Owner& owner, const protocol::Overlay& overlay,
              Serve serve, Clock clock = std::chrono::steady_clock::now);
  ~UplinkWatch();
  UplinkWatch(const UplinkWatch&) = delete;
  UplinkWatch& operator=(const UplinkWatch&) = delete;

  // Takes uplinks and times from `model`; `grace` as HealthPolicy has it.
  void Update(const EdgeModel& model, bool grace = false);
  // From now on JudgeHealth() is called.
  void StartJudging();

  // Hears on the device with this index. True: on another one than before. (A
  // socket stays bound to the device that it was bound to, not to its name.)
  absl::StatusOr<bool> Hear(int link);
  void Deafen();

  // An uplink takes 15 s to find out that this side has forgotten their
  // session; a packet from here begins a new one at once.
  void Greet();
  // After a start uplinks have 5 s to notice it, once there is a way to them;
  // the machine may have no network yet. They are greeted meanwhile.
  void AwaitFirstWords();

  // Heed() soon, as if an uplink had said something.
  void HeedSoon();

  // Who is alive now. Where that is less than `before`, received bytes are
  // asked for too.
  UplinkHealth Judge(const UplinkHealth& before);
  // Without asking.
  UplinkHealth Judge() const { return health_.Evaluate(clock_()); }
  // Dead for so long that their TCP flows are given up.
  std::set<std::string> LongDead() const;
  // The last one heard; nullptr: none yet.
  const protocol::Heartbeat* LastHeartbeat(const std::string& uplink) const {
    return health_.LastHeartbeat(uplink);
  }
  std::optional<WallTime> LastHeard(const std::string& uplink) const;

 private:
  struct Uplink {
    IpAddress address;
    PublicKey key;
    std::optional<WallTime> last_heard;
  };

  const std::string* UplinkAt(const IpAddress& address) const;
  void OnHeartbeat(const IpAddress& from, const protocol::Heartbeat& heartbeat);
  std::optional<uint32_t> OnProbe(const IpAddress& from,
                                  const protocol::PathProbe& probe);
  void HeedNow();
  void ArmTicks();

  EventLoop& loop_;
  Owner& owner_;
  const protocol::Overlay overlay_;
  const Serve serve_;
  const Clock clock_;
  HealthPolicy health_;
  std::map<std::string, Uplink> uplinks_;
  std::unique_ptr<HeartbeatServer> server_;
  int link_ = 0;  // index of the device that it is bound to
  bool judging_ = false;
  EventLoop::TimerId tick_timer_ = 0;
  EventLoop::Duration tick_interval_{};
  EventLoop::TimerId heed_timer_ = 0;
  Time heed_after_;
  EventLoop::TimerId first_words_timer_ = 0;
  std::optional<Time> way_since_;  // uplinks can be reached
  Time greet_after_{};
};

}  // namespace edged::edge
