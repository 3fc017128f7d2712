#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/heartbeat.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"

namespace edged::edge {

// Judges from heartbeats and received bytes which uplinks serve. An uplink
// that is silent for more than `unhealthy_threshold` intervals becomes suspect
// (out of every group that has somebody alive), after three times that dead.
// Time is passed in; the time in which this process itself stood still does not
// count as silence.
class HealthPolicy {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  // Takes interval, threshold and uplinks from `model`. New uplinks are dead
  // until they are heard; with `grace` (right after a restart, uplinks from the
  // state file) they count as heard and ready now. An uplink whose key changed
  // is a new one.
  void Update(const EdgeModel& model, Time now, bool grace = false);

  // Uplinks that count as heard by grace alone: they do so from now on. For as
  // long as they cannot know that this side is there again.
  void ExtendGrace(Time now);
  bool HasGrace() const;  // there are such uplinks

  // Unknown names are ignored.
  void OnHeartbeat(const std::string& uplink,
                   const protocol::Heartbeat& heartbeat, Time now);
  // The peer's byte counter: more than last time is life of an uplink that was
  // heard before, also when its heartbeats are lost.
  void OnReceivedBytes(const std::string& uplink, uint64_t total, Time now);

  // How often Tick() wants to be called: half a heartbeat interval.
  Duration tick_interval() const { return interval_ / 2; }
  // Notices our own stalls: a tick that comes more than half a heartbeat
  // interval late moves all deadlines by its lateness. To be called before
  // anything else that the same turn of the loop brings.
  void Tick(Time now);

  // Every uplink of the model.
  UplinkHealth Evaluate(Time now) const;
  // How long ago it became dead (by silence, or by saying that it is not
  // ready); nullopt when it is not dead or was never heard.
  std::optional<Duration> DeadFor(const std::string& uplink, Time now) const;
  // The last one heard; nullptr: none yet.
  const protocol::Heartbeat* LastHeartbeat(const std::string& uplink) const;

 private:
  struct Uplink {
    PublicKey key;
    bool heard = false;
    bool by_grace = false;  // it was not really heard yet
    bool ready = false;
    bool draining = false;
    Time last_life;   // moved by stalls
    Time unready_at;  // since when it says that it is not ready
    std::optional<uint64_t> received_bytes;
    std::optional<protocol::Heartbeat> heartbeat;
  };

  Duration PatienceWith(const Uplink& uplink) const;
  Health Judge(const Uplink& uplink, Time now) const;

  Duration interval_ = std::chrono::milliseconds(250);
  uint32_t threshold_ = 3;
  std::map<std::string, Uplink> uplinks_;
  std::optional<Time> last_tick_;
};

}  // namespace edged::edge
