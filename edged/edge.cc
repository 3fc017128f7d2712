#include "edged/edge.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/heap.h"
#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

// A change is on disk this soon: whoever is killed before starts with what was,
// and takes it out of the kernel. A large state takes the loop longer to copy.
constexpr auto kLeastSaveDelay = milliseconds(20);
constexpr auto kMostSaveDelay = milliseconds(500);
constexpr size_t kMappingsPerMillisecond = 100;
constexpr auto kSaveAgain = std::chrono::seconds(2);  // after a failure
constexpr auto kReconcileDelay = milliseconds(30);
// What has no events is right again within a second.
constexpr auto kTunnelInterval = milliseconds(500);
constexpr auto kAuditInterval = std::chrono::minutes(5);

}  // namespace

Edge::Edge(EventLoop& loop, const KernelClients& kernel, StateStore& store,
           const Options& options)
    : loop_(loop),
      store_(store),
      writer_(loop),
      join_(options.join),
      limits_{.overlay = *protocol::Overlay::Create(options.join.network),
              .listen_port = options.join.listen_port,
              .reserved = options.reserved_ports,
              .taken_keys = {options.join.private_key.Public(),
                             options.join.control_key}},
      serving_(options.serving),
      tell_(options.tell),
      rtnetlink_port_(kernel.rtnetlink.socket().port()),
      nft_(kernel.nft),
      dataplane_({nft_, kernel.wireguard, kernel.rtnetlink, kernel.conntrack},
                 limits_, {options.join.private_key, options.join.control_key}),
      keys_(loop, store.folder(), options.join, dataplane_,
            [this](const KeyNotice& notice) {
              if (stream_) stream_->Send(notice);
            }),
      gate_(options.join.cluster_uid, std::nullopt),
      uplinks_(loop, *this, limits_.overlay,
               [this](HeartbeatServer::Receive receive,
                      HeartbeatServer::Probed probed) {
                 return HeartbeatServer::Start(
                     loop_, limits_.overlay.EdgeAddress(),
                     dataplane_.facts().device, std::move(receive),
                     std::move(probed));
               }),
      overflow_(kernel.conntrack),
      backoff_(milliseconds(200), std::chrono::seconds(10)),
      flows_(loop, [this](const FlowSearch& search) {
        return dataplane_.DeleteStaleFlows(model_, uplinks_.LongDead(), search);
      }) {}

Edge::~Edge() {
  if (save_timer_ != 0) SaveNow();
  if (stream_) {
    std::exchange(stream_, nullptr)
        ->End(absl::UnavailableError("edged stops, or its enrolment ended"));
  }
  for (const auto timer : {retry_timer_, save_timer_, tunnel_timer_,
                           audit_timer_, quiet_timer_, repair_timer_}) {
    loop_.Cancel(timer);
  }
}

void Edge::Start() {
  StartWatching();
  keys_.Start();
  Restore();
  if (!AdoptKernel()) Reconcile();
  uplinks_.AwaitFirstWords();
  tunnel_timer_ = loop_.Every(kTunnelInterval, [this] { CheckTunnel(); });
  audit_timer_ = loop_.Every(kAuditInterval, [this] { AuditNowAndThen(); });
}

void Edge::Restore() {
  auto stored = store_.Load();
  if (!stored.ok()) {
    damaged_state_ = std::string(Message(stored.status()));
    spdlog::error("{}; starting from the kernel", damaged_state_);
    return;
  }
  stored_switched_ = stored->switched_interfaces;
  dataplane_.RememberSwitched(std::move(stored->switched_interfaces));
  if (const std::string stranger = StrangerIn(*stored); !stranger.empty()) {
    damaged_state_ = fmt::format("the stored state is of {}; kept as {}",
                                 stranger, store_.KeepAside());
    spdlog::error("{}", damaged_state_);
    return;
  }
  endpoints_ = std::move(stored->endpoints);
  if (stored->epoch) {
    gate_ = EpochGate(stored->epoch->cluster_uid, stored->epoch);
    contacted_ = true;
  }
  const auto judged = model_.JudgeSnapshot(stored->state, limits_);
  if (!judged.ok()) {
    damaged_state_ = fmt::format("the stored state makes no sense: {}",
                                 Message(judged.status()));
    spdlog::error("{}", damaged_state_);
    return;
  }
  refused_ = judged->refusals;
  model_.Commit(judged->accepted);
  uplinks_.Update(model_, /*grace=*/true);
  if (contacted_) {
    spdlog::info("restored {} mappings, {} uplinks, epoch {}, digest {}",
                 model_.mapping_count(), model_.uplinks().size(),
                 stored->epoch->number, model_.digest().Short());
  }
}

// Whose the state is, when it is not that of our enrolment: the disk of another
// edge, or an old copy of our own.
std::string Edge::StrangerIn(const StoredState& stored) const {
  if (stored.epoch && !join_.cluster_uid.empty() &&
      stored.epoch->cluster_uid != join_.cluster_uid) {
    return fmt::format("cluster {}, not of {}", stored.epoch->cluster_uid,
                       join_.cluster_uid);
  }
  if (stored.network && *stored.network != join_.network) {
    return fmt::format("network {}, not of {}", stored.network->ToString(),
                       join_.network.ToString());
  }
  return "";
}

bool Edge::AdoptKernel() {
  if (contacted_) return false;  // the stored state tells
  const auto programmed = dataplane_.IsProgrammed();
  if (!programmed.ok() || !*programmed) return false;
  adopting_ = true;
  programmed_ = true;
  spdlog::warn(
      "no stored state, but the kernel still forwards: it goes on as it is "
      "until an agent calls");
  HearUplinks();
  serving_();
  return true;
}

// ---- the kernel ----

void Edge::Reconcile() {
  const auto start = SteadyClock::now();
  loop_.Cancel(std::exchange(retry_timer_, 0));
  if (adopting_) return;
  const auto written =
      dataplane_.Reconcile(model_, uplinks_.Judge(), endpoints_);
  const bool was_drift = unrepaired_.has_value();
  ConcludeUnrepaired(written);
  const bool was_programmed = std::exchange(programmed_, written.ok());
  if (!written.ok()) {
    trouble_ = std::string(Message(written.status()));
    spdlog::error("reconcile: {}", trouble_);
    RetryReconcile();
    return;
  }
  trouble_.clear();
  in_doubt_ = false;
  backoff_.Reset();
  SaveSwitchedSoon();
  TellAstray();
  if (!was_programmed) {
    spdlog::info(
        "serving: device {} ({}), udp {}, {} mappings, {} ms",
        dataplane_.facts().device, wireguard::ToString(dataplane_.backend()),
        join_.listen_port, model_.mapping_count(),
        std::chrono::duration_cast<milliseconds>(SteadyClock::now() - start)
            .count());
  }
  HearUplinks();
  if (!written->empty()) {
    if (!was_drift) spdlog::info("reconciled: {}", *written);
    uplinks_.Greet();
  }
  uplinks_.StartJudging();
  flows_.Soon(FlowSearch::Everywhere());
  SendReportIfChanged();
  serving_();
}

void Edge::RetryReconcile() {
  loop_.Cancel(retry_timer_);
  retry_timer_ = loop_.After(backoff_.Next(), [this] { Reconcile(); });
}

void Edge::ReconcileSoon() {
  if (retry_timer_ != 0) return;
  retry_timer_ = loop_.After(kReconcileDelay, [this] { Reconcile(); });
}

absl::StatusOr<std::vector<MappingStatus>> Edge::Mappings() const {
  return dataplane_.Mappings();
}

void Edge::ForgetEpoch() {
  gate_ = EpochGate(join_.cluster_uid, std::nullopt);
  SaveNow();
}

absl::Status Edge::Remove() {
  StopWatching();
  uplinks_.Deafen();
  loop_.Cancel(std::exchange(save_timer_, 0));
  writer_.Discard();
  RETURN_IF_ERROR(dataplane_.Remove());
  return store_.Remove();
}

std::optional<SocketAddress> Edge::api_address() const {
  if (!programmed_) return std::nullopt;
  return SocketAddress{limits_.overlay.EdgeAddress(), protocol::kApiPort};
}

// ---- the state file ----

void Edge::SaveSoon() {
  if (save_timer_ != 0) return;
  const milliseconds delay(model_.mapping_count() / kMappingsPerMillisecond);
  save_timer_ = loop_.After(std::clamp(delay, kLeastSaveDelay, kMostSaveDelay),
                            [this] { Save(); });
}

void Edge::Save() {
  writer_.Write(SaveJob(),
                [this](const absl::Status& status) { Saved(status); });
}

void Edge::SaveNow() { Saved(writer_.WriteNow(SaveJob())); }

// Whose forwarding is on because of us: after a restart nothing else may tell.
void Edge::SaveSwitchedSoon() {
  if (dataplane_.facts().switched_interfaces != stored_switched_) SaveSoon();
}

std::function<absl::Status()> Edge::SaveJob() {
  loop_.Cancel(std::exchange(save_timer_, 0));
  stored_switched_ = dataplane_.facts().switched_interfaces;
  return
      [&store = store_,
       state = StoredState{.epoch = gate_.seen(),
                           .network = join_.network,
                           .state = model_.ToState(),
                           .endpoints = endpoints_,
                           .switched_interfaces = stored_switched_}]() mutable {
        const absl::Status status = store.Save(state);
        const bool is_bulk = state.state.mappings.size() >= kBulk;
        state = {};
        if (is_bulk) TrimHeap();
        return status;
      };
}

void Edge::Saved(const absl::Status& status) {
  const std::string problem(Message(status));
  if (problem != not_durable_) {
    if (status.ok()) {
      spdlog::info("state is durable again");
    } else {
      spdlog::error("StateNotDurable: {}", problem);
    }
  }
  not_durable_ = problem;
  if (status.ok() || save_timer_ != 0) return;
  save_timer_ = loop_.After(kSaveAgain, [this] { Save(); });
}

}  // namespace edged::edge
