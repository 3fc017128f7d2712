#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "edged/core/edge_api.h"
#include "edged/core/edge_model.h"
#include "edged/core/epoch_gate.h"
#include "edged/core/health_policy.h"
#include "edged/join.h"
#include "edged/system/dataplane.h"
#include "edged/system/heartbeat_server.h"
#include "edged/system/state_store.h"

namespace edged::edge {

// An enrolled edge: its model, its data plane, and whoever syncs with it. It is
// made when the edge is enrolled and destroyed when it is reset. Belongs to the
// loop thread.
class Edge {
 public:
  struct Options {
    Join join;
    std::vector<ReservedPort> reserved_ports;
    // Called whenever the API's address is there; it may be called again.
    std::function<void()> serving;
  };

  // `loop`, `kernel` and `store` are borrowed and outlive the edge.
  Edge(EventLoop& loop, const KernelClients& kernel, StateStore& store,
       const Options& options);
  ~Edge();

  // Restores what the state file holds and programs it. A kernel that refuses
  // is tried again in the background.
  void Start();

  // As EdgeApi has them.
  absl::Status Register(const RegisterCall& call);
  absl::StatusOr<Welcome> Open(const Hello& hello, SyncStream& stream);
  SyncResult Change(SyncStream& stream, ChangeCall call);
  void Close(SyncStream& stream);
  void FillStatus(EdgeStatus& status) const;
  absl::StatusOr<std::vector<MappingStatus>> Mappings() const;

  // The host's links or addresses changed, or somebody touched what is ours.
  void ReconcileSoon();
  // Forgets the highest epoch seen.
  void ForgetEpoch();
  // Where the API is to be served; unset until the address is there.
  std::optional<SocketAddress> api_address() const;
  // Removes everything that was made in the kernel, and the state file.
  absl::Status Remove();

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  void Restore();
  bool AdoptKernel();
  void Reconcile();
  void RetryReconcile();
  absl::Status TakeEpoch(const Epoch& epoch);
  absl::StatusOr<Judgement> Judge(const ChangeCall& call) const;
  absl::Status ApplyJudged(const protocol::EdgeDelta& accepted);
  protocol::EdgeDelta RegistrationDelta(const protocol::Uplink& uplink) const;

  void StartHeartbeats();
  void OnHeartbeat(const IpAddress& from, const protocol::Heartbeat& heartbeat);
  void ArmHealthTimer();
  void CheckHealth();
  void ReadReceivedBytes(SteadyTime now);
  void DeleteStaleFlowsSoon();
  std::set<std::string> LongDead() const;

  std::vector<UplinkLife> UplinkLives() const;
  Report MakeReport() const;
  void SendReportIfChanged();
  void SaveSoon();
  void Save();
  void RefreshPeers();

  EventLoop& loop_;
  StateStore& store_;
  const Join join_;
  const Limits limits_;
  const std::function<void()> serving_;
  Dataplane dataplane_;
  EpochGate gate_;
  EdgeModel model_;
  HealthPolicy health_;
  Endpoints endpoints_;
  std::unique_ptr<HeartbeatServer> heartbeats_;
  int heartbeat_link_ = 0;  // index of the device that it is bound to
  std::map<std::string, WallTime> last_heartbeats_;
  std::map<PublicKey, wireguard::Peer> peers_;  // as last read
  std::set<std::string> long_dead_;             // likewise

  SyncStream* stream_ = nullptr;
  uint64_t stream_version_ = 0;
  std::vector<Refusal> refused_;
  Report last_report_;
  bool contacted_ = false;

  bool programmed_ = false;  // the last Reconcile() succeeded
  bool in_doubt_ = false;    // the kernel differed from the model
  // The stored state is lost but the kernel still forwards: it is left as it is
  // until an agent says what should be.
  bool adopting_ = false;
  std::string trouble_;  // why not
  std::string damaged_state_;
  std::string not_durable_;
  std::set<std::string> stored_switched_;
  uint64_t applied_version_ = 0;
  std::optional<WallTime> applied_at_;
  std::chrono::nanoseconds apply_time_{};
  Backoff backoff_;
  EventLoop::TimerId retry_timer_ = 0;
  EventLoop::TimerId save_timer_ = 0;
  EventLoop::TimerId health_timer_ = 0;
  EventLoop::TimerId peers_timer_ = 0;
  EventLoop::TimerId flows_timer_ = 0;
  EventLoop::Duration health_interval_{};
};

}  // namespace edged::edge
