#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/edge/edge_client.h"
#include "clusteragent/uplink/uplink.h"
#include "common/event_loop.h"
#include "common/net_types.h"
#include "common/protocol/records.h"

namespace edged::agent {

// Makes this uplink known to an edge that does not know its key yet: one call
// by a short-lived device that has the cluster's control key. Belongs to the
// loop thread.
class Introduction {
 public:
  // `loop` and `uplink` outlive it. `done`: what came of one that was begun,
  // when its device is gone; maybe before Begin() returns.
  Introduction(EventLoop& loop, Uplink& uplink, std::string edge, Dial dial,
               std::function<void(const absl::Status&)> done);
  Introduction(const Introduction&) = delete;
  ~Introduction();

  // `device` as of MakeControlDevice(); the edge's API is at `api`, and is told
  // of `own`. Nothing where one is under way.
  void Begin(const absl::StatusOr<UplinkDevice>& device,
             const SocketAddress& api, const Epoch& epoch,
             const protocol::Uplink& own);
  bool under_way() const { return !device_.empty(); }
  void GiveUp();

 private:
  void End(const absl::Status& status);

  EventLoop& loop_;
  Uplink& uplink_;
  const std::string edge_;
  const Dial dial_;
  const std::function<void(const absl::Status&)> done_;
  std::string device_;  // while it is under way
  std::unique_ptr<EdgeClient> client_;
};

}  // namespace edged::agent
