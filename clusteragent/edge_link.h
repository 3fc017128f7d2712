#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "clusteragent/control_plane.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/settling.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/edge/edge_client.h"
#include "clusteragent/edge/edge_syncer.h"
#include "clusteragent/edge/repair_watch.h"
#include "clusteragent/edge/resolver.h"
#include "clusteragent/edge_keys.h"
#include "clusteragent/introduction.h"
#include "clusteragent/paced_call.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/uplink/heartbeat_sender.h"
#include "clusteragent/uplink/uplink.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "common/protocol/overlay.h"

namespace edged::agent {

// One edge as this agent reaches it: looks its address up and keeps the
// heartbeats; while it leads, also introduces itself with the control key where
// the edge does not know its own key yet, and keeps the Sync stream. Belongs to
// the loop thread.
class EdgeLink {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // What it speaks by, and its clock.
  struct Shell {
    Dial dial = DialEdge;
    std::function<absl::StatusOr<std::unique_ptr<HeartbeatSender>>(
        EventLoop&, const HeartbeatSender::Options&, std::function<void()>)>
        start_heartbeats = HeartbeatSender::Start;
    std::function<SteadyTime()> now = std::chrono::steady_clock::now;
  };

  // Shared by all links; borrowed.
  struct Context {
    EventLoop& loop;
    const StateFolder& state;
    Resolver& resolver;
    Uplink& uplink;
    ControlPlane& control_plane;
    std::string uplink_name;
    Shell shell = {};
  };

  // `replan`: the own device may be made now, or something that plans rest on
  // changed. `changed`: what is said about the edge changed. Both are paced: an
  // edge has a say in how often there is a reason.
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
  // Likewise where nothing but mappings is another since the last Carry().
  void CarryOn();

  // This replica leads, in another term, or does not any more: only a leader
  // introduces itself and keeps the stream.
  void FollowTerm();
  // This uplink is going: no new connections, please.
  void Drain();

  bool enrolled() const { return token_ || registered(); }
  bool registered() const { return keys_.registered(); }
  EdgeEnrolment enrolment() const { return keys_.enrolment(); }
  // Unset: it cannot be read.
  std::optional<PublicKey> own_key() const {
    return keys_.known() ? std::optional(keys_.own()) : std::nullopt;
  }
  const EdgeSyncer* syncer() const { return syncer_.get(); }
  EdgeReport Report() const;

 private:
  // The edge answers: no reason to introduce ourselves.
  bool in_contact() const {
    return (heartbeats_ && heartbeats_->is_up()) ||
           (syncer_ && syncer_->progress().connected);
  }
  // The edge of the last token has not heard of our key yet. Until it has, the
  // one that knows us is served.
  bool is_new_to_edge() const {
    return token_ && !keys_.registered_with(token_->edge_key);
  }
  // By plan_.
  protocol::Overlay overlay() const;
  SocketAddress ApiAddress() const;
  std::string OwnDevice() const;
  void LoadEnrolment();
  void LookUp();
  void IntroduceIfNew();
  void Introduce();
  void OnRegistered(const absl::Status& status);
  void HearEpoch(const std::string& trouble);
  void OnProgress();
  void ConfirmCarried();
  void SeeWhetherSettled();
  void OnHeartbeats();
  void TakePathMtu();
  void CheckContact();
  void IntroduceLater();
  absl::StatusOr<Uplink::Way> Way() const;
  void SeeWay();
  void ShakeHandsNow();
  void WatchTunnel();
  void MakePeersAnew();
  void SayStored(const PublicKey& key);
  void StartSync();

  const Context context_;
  const std::string edge_;
  PacedCall replan_;
  PacedCall changed_;
  PacedCall take_path_mtu_;

  std::optional<EdgePlan> plan_;
  protocol::SharedState wanted_;
  protocol::SharedState carried_;
  // The last one whose digest the edge has heard from an uplink.
  protocol::SharedState confirmed_;
  Settling settling_;
  std::optional<IssuedToken> token_;
  EdgeKeys keys_;
  PublicKey introduced_to_;  // the edge's key, while we introduce ourselves
  std::optional<IpAddress> address_;
  bool looking_up_ = false;
  bool unresolved_ = false;         // the last look-up failed, and is trouble_
  std::optional<Uplink::Way> way_;  // to the edge, as last seen
  bool had_no_way_ = false;         // since then
  std::string device_;              // as carried
  // Of an edge that does not answer heartbeats: what came by the tunnel, and
  // whether its peers were made anew.
  std::optional<uint64_t> received_in_silence_;
  bool made_anew_ = false;
  uint32_t own_mtu_ = 0;   // as carried
  uint32_t path_mtu_ = 0;  // as planned with
  std::string trouble_;
  std::string file_trouble_;  // with its files; empty: none
  bool looked_ = false;       // at what other replicas know
  bool adopted_ = false;      // what is known of it came from other replicas
  bool met_ = false;          // there was contact in this run
  bool draining_ = false;

  Introduction introduction_;
  std::unique_ptr<EdgeClient> client_;
  std::unique_ptr<EdgeSyncer> syncer_;
  std::unique_ptr<RepairWatch> repairs_;
  std::optional<HeartbeatSender::Options> heartbeat_options_;
  std::unique_ptr<HeartbeatSender> heartbeats_;
  Backoff backoff_;
  EventLoop::TimerId introduce_timer_ = 0;
  EventLoop::TimerId contact_timer_ = 0;
  EventLoop::TimerId settling_timer_ = 0;
  SteadyTime last_contact_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace edged::agent
