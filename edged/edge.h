#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/background_writer.h"
#include "common/backoff.h"
#include "common/drift/kernel_watch.h"
#include "common/drift/repair_pace.h"
#include "common/event_loop.h"
#include "edged/core/conntrack_room.h"
#include "edged/core/drift_damage.h"
#include "edged/core/edge_api.h"
#include "edged/core/edge_event.h"
#include "edged/core/edge_model.h"
#include "edged/core/epoch_gate.h"
#include "edged/edge_keys.h"
#include "edged/flow_sweep.h"
#include "edged/join.h"
#include "edged/system/dataplane.h"
#include "edged/system/overflow.h"
#include "edged/system/quiet_loader.h"
#include "edged/system/state_store.h"
#include "edged/uplink_watch.h"

namespace edged::edge {

// An enrolled edge: its model, its data plane, and whoever syncs with it. It is
// made when the edge is enrolled and destroyed when it is reset. Belongs to the
// loop thread.
class Edge : private UplinkWatch::Owner {
 public:
  struct Options {
    Join join;
    std::vector<ReservedPort> reserved_ports;
    // Called whenever the API's address is there; it may be called again.
    std::function<void()> serving;
    // Hears what happens to the edge; may be empty.
    std::function<void(const EdgeEvent&)> tell;
  };

  // `loop`, `kernel` and `store` are borrowed and outlive the edge.
  Edge(EventLoop& loop, const KernelClients& kernel, StateStore& store,
       const Options& options);
  ~Edge() override;

  // Restores what the state file holds and programs it. A kernel that refuses
  // is tried again in the background.
  void Start();

  // As EdgeApi has them.
  absl::Status Register(const RegisterCall& call);
  absl::StatusOr<Welcome> Open(const Hello& hello, SyncStream& stream);
  SyncResult Change(SyncStream& stream, ChangeCall call);
  void KeyStored(SyncStream& stream, const PublicKey& key);
  void Close(SyncStream& stream);
  absl::StatusOr<Rotation> RotateKey();
  void FillStatus(EdgeStatus& status) const;
  absl::StatusOr<std::vector<MappingStatus>> Mappings() const;

  // Looks at everything again, and writes what differs.
  void ReconcileSoon();
  // Forgets the highest epoch seen.
  void ForgetEpoch();
  // Where the API is to be served; unset until the address is there.
  std::optional<SocketAddress> api_address() const;
  // Removes everything that was made in the kernel, and the state file.
  absl::Status Remove();

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // Applying or saving this many mappings leaves enough garbage to give back.
  static constexpr size_t kBulk = 1'000;

  void Restore();
  std::string StrangerIn(const StoredState& stored) const;
  bool AdoptKernel();
  void Reconcile();
  void RetryReconcile();
  absl::Status TakeEpoch(const Epoch& epoch);
  absl::StatusOr<Judgement> Judge(const ChangeCall& call);
  absl::Status ApplyJudged(const protocol::EdgeDelta& accepted);
  absl::Status WriteTunnel(const EdgeModel& model);
  protocol::EdgeDelta RegistrationDelta(const protocol::Uplink& uplink) const;

  // What others did since the last repair.
  struct Damage {
    TableDamage table;
    NetworkDamage network;
    SteadyTime since;

    bool empty() const { return table.empty() && network.empty(); }
  };
  void StartWatching();
  void StopWatching();
  void OnDamage();
  void Repair();
  void RepairNow(const Damage& damage);
  absl::StatusOr<std::string> RepairNetwork();
  void TellAstray();
  void Conclude(Drift drift, const absl::StatusOr<std::string>& written,
                SteadyTime since);
  void ConcludeUnrepaired(const absl::StatusOr<std::string>& written);
  void Tell(std::variant<Drift, Flood> what);
  void CheckTunnel();
  void CheckConntrack();
  std::vector<HeardUplink> HeardUplinks() const;
  absl::StatusOr<protocol::Digest> Audit();
  void AuditNowAndThen();
  void AuditWhenQuiet();

  bool HearUplinks();  // on another device than before
  void FollowMtu();
  // Of UplinkWatch::Owner.
  void Heed() override;
  void JudgeHealth() override;
  uint32_t OnProbe(const std::string& uplink,
                   const protocol::PathProbe& probe) override;
  std::map<PublicKey, uint64_t> ReceivedBytes() override;
  bool HasWay() override;
  void RenewSilentPeers() override;

  std::vector<UplinkLife> UplinkLives() const;
  Report MakeReport() const;
  void SendReportIfChanged();
  void SaveSoon();
  void Save();
  void SaveNow();  // returns when it is on the disk
  void SaveSwitchedSoon();
  std::function<absl::Status()> SaveJob();
  void Saved(const absl::Status& status);
  void KeepPeers(const wireguard::Device& device);

  EventLoop& loop_;
  StateStore& store_;
  BackgroundWriter writer_;  // of store_
  const Join join_;
  Limits limits_;
  const std::function<void()> serving_;
  const std::function<void(const EdgeEvent&)> tell_;
  const uint32_t rtnetlink_port_;
  QuietLoader nft_;
  Dataplane dataplane_;
  EdgeKeys keys_;
  EpochGate gate_;
  EdgeModel model_;
  UplinkWatch uplinks_;
  Endpoints endpoints_;
  std::unique_ptr<KernelWatch> watch_;
  Damage damage_;
  RepairPace pace_;
  // What a repair did not achieve: Reconcile() tries until it does.
  struct Unrepaired {
    Drift drift;
    SteadyTime since;
    bool told = false;
  };
  std::optional<Unrepaired> unrepaired_;
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
  Astray told_astray_;  // in the log
  ConntrackRoom room_;
  Overflow overflow_;
  uint64_t applied_version_ = 0;
  std::optional<WallTime> applied_at_;
  std::chrono::nanoseconds apply_time_{};
  Backoff backoff_;
  EventLoop::TimerId retry_timer_ = 0;
  EventLoop::TimerId save_timer_ = 0;
  EventLoop::TimerId tunnel_timer_ = 0;
  EventLoop::TimerId audit_timer_ = 0;
  EventLoop::TimerId quiet_timer_ = 0;  // an audit after drift
  EventLoop::TimerId repair_timer_ = 0;
  FlowSweep flows_;
  std::string told_mtu_;      // the last line about it in the log
  bool mtu_changed_ = false;  // an uplink says another one, or has moved
};

}  // namespace edged::edge
