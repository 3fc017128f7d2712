#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/edge/edge_client.h"
#include "clusteragent/edge/edge_syncer.h"
#include "clusteragent/edge/resolver.h"
#include "clusteragent/edge_keys.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/uplink/heartbeat_sender.h"
#include "clusteragent/uplink/uplink.h"
#include "common/backoff.h"
#include "common/event_loop.h"

namespace edged::agent {

// One edge as this agent reaches it: looks its address up, introduces itself
// with the control key where the edge does not know its own key yet, then keeps
// the Sync stream and the heartbeats. Belongs to the loop thread.
class EdgeLink {
 public:
  // Shared by all links; borrowed.
  struct Context {
    EventLoop& loop;
    const StateFolder& state;
    Resolver& resolver;
    Uplink& uplink;
    std::string uplink_name;
    PrivateKey control_key;
    Epoch epoch;
  };

  // `replan`: the own device may be made now, or something that plans rest on
  // changed. `changed`: what is said about the edge changed.
  EdgeLink(const Context& context, std::string edge,
           std::function<void()> replan, std::function<void()> changed);
  ~EdgeLink();

  // The plan to reach it by. Looks its token and address up again.
  void Follow(const EdgePlan& plan);
  // What is known to reach it; no edge key until it is enrolled and knows ours.
  EdgeAccess access() const;
  // The uplink's device (`link` is its index) is as the plan wants it: speak
  // through it, and tell the edge what it should be.
  void Carry(const UplinkDevice& device, int link);

  bool enrolled() const { return token_.has_value(); }
  PublicKey own_key() const { return keys_.own(); }
  const EdgeSyncer* syncer() const { return syncer_.get(); }
  EdgeReport Report() const;

 private:
  // The edge answers: no reason to introduce ourselves.
  bool in_contact() const {
    return (heartbeats_ && heartbeats_->is_up()) ||
           (syncer_ && syncer_->progress().connected);
  }
  bool registered() const { return keys_.registered(); }
  // The edge of the last token has not heard of our key yet. Until it has, the
  // one that knows us is served.
  bool is_new_to_edge() const {
    return token_ && !keys_.registered_with(token_->edge_key);
  }
  void LoadEnrolment();
  void LookUp();
  void IntroduceIfNew();
  void Introduce();
  void OnRegistered(const absl::Status& status);
  void OnProgress();
  void OnHeartbeats();
  void CheckContact();
  void IntroduceLater();
  void DropControlDevice();
  void StartSync();

  const Context context_;
  const std::string edge_;
  const std::function<void()> replan_;
  const std::function<void()> changed_;

  std::optional<EdgePlan> plan_;
  std::shared_ptr<const protocol::EdgeState> wanted_;
  std::shared_ptr<const protocol::EdgeState> carried_;
  // The last one whose digest the edge has heard from us.
  std::shared_ptr<const protocol::EdgeState> confirmed_;
  std::optional<IssuedToken> token_;
  EdgeKeys keys_;
  PublicKey introduced_to_;  // the edge's key, while we introduce ourselves
  std::optional<IpAddress> address_;
  bool looking_up_ = false;
  uint32_t own_mtu_ = 0;   // as carried
  uint32_t path_mtu_ = 0;  // as planned with
  std::string trouble_;

  std::string control_device_;              // while we introduce ourselves
  std::unique_ptr<EdgeClient> introducer_;  // likewise
  std::unique_ptr<EdgeClient> client_;
  std::unique_ptr<EdgeSyncer> syncer_;
  std::optional<HeartbeatSender::Options> heartbeat_options_;
  std::unique_ptr<HeartbeatSender> heartbeats_;
  Backoff backoff_;
  EventLoop::TimerId introduce_timer_ = 0;
  EventLoop::TimerId contact_timer_ = 0;
  std::chrono::steady_clock::time_point last_contact_ =
      std::chrono::steady_clock::now();
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace edged::agent
