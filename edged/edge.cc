#include "edged/edge.h"

#include <malloc.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kSaveDelay = milliseconds(500);
constexpr auto kReconcileDelay = milliseconds(30);
constexpr auto kPeersInterval = std::chrono::seconds(5);
// Applying this many mappings leaves enough garbage to give back.
constexpr size_t kBulk = 1'000;

bool AddsToTunnel(const protocol::EdgeDelta& delta) {
  return delta.settings || !delta.uplinks.empty();
}

bool ChangesTunnel(const protocol::EdgeDelta& delta) {
  return AddsToTunnel(delta) || !delta.removed_uplinks.empty();
}

// What stays refused after `delta`: all but what it speaks of.
std::vector<Refusal> Untouched(const std::vector<Refusal>& refusals,
                               const protocol::EdgeDelta& delta) {
  std::set<protocol::Listener> touched(delta.removed_mappings.begin(),
                                       delta.removed_mappings.end());
  for (const protocol::Mapping& mapping : delta.mappings) {
    touched.insert(mapping.listener);
  }
  std::vector<Refusal> rest = refusals;
  std::erase_if(rest, [&touched](const Refusal& refusal) {
    return touched.contains(refusal.listener);
  });
  return rest;
}

}  // namespace

Edge::Edge(EventLoop& loop, const KernelClients& kernel, StateStore& store,
           const Options& options)
    : loop_(loop),
      store_(store),
      join_(options.join),
      limits_{.overlay = *protocol::Overlay::Create(options.join.network),
              .listen_port = options.join.listen_port,
              .reserved = options.reserved_ports,
              .taken_keys = {options.join.private_key.Public(),
                             options.join.control_key}},
      serving_(options.serving),
      dataplane_(kernel, limits_,
                 {options.join.private_key, options.join.control_key}),
      gate_(options.join.cluster_uid, std::nullopt),
      backoff_(milliseconds(200), std::chrono::seconds(10)) {}

Edge::~Edge() {
  if (save_timer_ != 0) Save();
  if (stream_) {
    std::exchange(stream_, nullptr)
        ->End(absl::UnavailableError("edged stops, or its enrolment ended"));
  }
  for (const auto timer :
       {retry_timer_, save_timer_, health_timer_, peers_timer_, flows_timer_}) {
    loop_.Cancel(timer);
  }
}

void Edge::Start() {
  Restore();
  if (!AdoptKernel()) Reconcile();
  peers_timer_ = loop_.Every(kPeersInterval, [this] { RefreshPeers(); });
}

void Edge::Restore() {
  auto stored = store_.Load();
  if (!stored.ok()) {
    damaged_state_ = std::string(Message(stored.status()));
    spdlog::error("{}; starting from the kernel", damaged_state_);
    return;
  }
  endpoints_ = std::move(stored->endpoints);
  stored_switched_ = stored->switched_interfaces;
  dataplane_.RememberSwitched(std::move(stored->switched_interfaces));
  if (stored->epoch && (join_.cluster_uid.empty() ||
                        stored->epoch->cluster_uid == join_.cluster_uid)) {
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
  health_.Update(model_, SteadyClock::now(), /*grace=*/true);
  if (contacted_) {
    spdlog::info("restored {} mappings, {} uplinks, epoch {}, digest {}",
                 model_.mapping_count(), model_.uplinks().size(),
                 stored->epoch->number, model_.digest().Short());
  }
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
  StartHeartbeats();
  serving_();
  return true;
}

// ---- the kernel ----

void Edge::Reconcile() {
  const auto start = SteadyClock::now();
  loop_.Cancel(std::exchange(retry_timer_, 0));
  if (adopting_) return;
  const absl::Status status =
      dataplane_.Reconcile(model_, health_.Evaluate(start), endpoints_);
  const bool was_programmed = std::exchange(programmed_, status.ok());
  if (!status.ok()) {
    trouble_ = std::string(Message(status));
    spdlog::error("reconcile: {}", trouble_);
    RetryReconcile();
    return;
  }
  trouble_.clear();
  in_doubt_ = false;
  backoff_.Reset();
  if (dataplane_.facts().switched_interfaces != stored_switched_) SaveSoon();
  if (!was_programmed) {
    spdlog::info(
        "serving: device {} ({}), udp {}, {} mappings, {} ms",
        dataplane_.facts().device, wireguard::ToString(dataplane_.backend()),
        join_.listen_port, model_.mapping_count(),
        std::chrono::duration_cast<milliseconds>(SteadyClock::now() - start)
            .count());
  }
  StartHeartbeats();
  ArmHealthTimer();
  DeleteStaleFlowsSoon();
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

void Edge::DeleteStaleFlowsSoon() {
  if (flows_timer_ != 0) return;
  flows_timer_ = loop_.After(milliseconds(0), [this] {
    flows_timer_ = 0;
    const auto deleted = dataplane_.DeleteStaleFlows(model_, LongDead());
    if (!deleted.ok()) {
      spdlog::warn("stale flows: {}", Message(deleted.status()));
    } else if (*deleted > 0) {
      spdlog::info("stale flows: {} deleted", *deleted);
    }
  });
}

// ---- the agents ----

absl::Status Edge::TakeEpoch(const Epoch& epoch) {
  RETURN_IF_ERROR(gate_.Check(epoch));
  contacted_ = true;
  if (gate_.Accept(epoch)) Save();
  return absl::OkStatus();
}

protocol::EdgeDelta Edge::RegistrationDelta(
    const protocol::Uplink& uplink) const {
  protocol::EdgeDelta delta;
  std::set<std::string> displaced;
  for (const auto& [name, known] : model_.uplinks()) {
    if (name != uplink.name &&
        (known.block == uplink.block || known.key == uplink.key)) {
      displaced.insert(name);
      delta.removed_uplinks.push_back(name);
    }
  }
  for (const auto& [name, group] : model_.groups()) {
    protocol::Group rest = group;
    std::erase_if(rest.uplinks, [&displaced](const std::string& member) {
      return displaced.contains(member);
    });
    if (rest != group) delta.groups.push_back(std::move(rest));
  }
  delta.uplinks.push_back(uplink);
  return delta;
}

absl::Status Edge::Register(const RegisterCall& call) {
  RETURN_IF_ERROR(gate_.Check(call.epoch));
  if (adopting_ && dataplane_.HasPeer(call.uplink.key)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Judgement judged,
                   model_.Judge(RegistrationDelta(call.uplink), limits_));
  RETURN_IF_ERROR(TakeEpoch(call.epoch));
  RETURN_IF_ERROR(ApplyJudged(judged.accepted));
  Save();  // the agent drops the control key now: this must outlive a crash
  spdlog::info("uplink {}: registered, key {}, block {}, epoch {}",
               call.uplink.name, call.uplink.key.Short(), call.uplink.block,
               call.epoch.number);
  return absl::OkStatus();
}

absl::StatusOr<Welcome> Edge::Open(const Hello& hello, SyncStream& stream) {
  RETURN_IF_ERROR(TakeEpoch(hello.epoch));
  if (stream_) {
    std::exchange(stream_, nullptr)
        ->End(absl::AbortedError(fmt::format(
            "a newer stream took over, epoch {}", hello.epoch.number)));
  }
  protocol::Digest audited;  // while adopting: nothing, so a snapshot follows
  if (!adopting_) {
    ASSIGN_OR_RETURN(audited, dataplane_.Audit(model_));
  }
  if (!adopting_ && audited != dataplane_.ProgrammedDigest(model_)) {
    spdlog::warn("the kernel's mappings differ from the last good state");
    in_doubt_ = true;
    ReconcileSoon();
  }
  stream_ = &stream;
  stream_version_ = 0;
  last_report_ = MakeReport();
  Welcome welcome{.digest = audited, .report = last_report_};
  for (const ReservedPort& port : limits_.reserved) {
    welcome.reserved_ports.push_back(
        fmt::format("{}/{}", port.port, ToString(port.protocol)));
  }
  spdlog::info("sync: agent {} connected, epoch {}, its digest {}, ours {}",
               hello.version, hello.epoch.number, hello.digest.Short(),
               audited.Short());
  return welcome;
}

void Edge::Close(SyncStream& stream) {
  if (stream_ != &stream) return;
  stream_ = nullptr;
  spdlog::info("sync: agent disconnected; the edge goes on as it is");
}

absl::StatusOr<Judgement> Edge::Judge(const ChangeCall& call) const {
  if (const auto* snapshot = std::get_if<SnapshotCall>(&call)) {
    return model_.JudgeSnapshot(snapshot->state, limits_);
  }
  return model_.Judge(std::get<DeltaCall>(call).delta, limits_);
}

SyncResult Edge::Change(SyncStream& stream, ChangeCall call) {
  const auto start = SteadyClock::now();
  SyncResult result;
  result.version =
      std::visit([](const auto& change) { return change.version; }, call);
  result.digest = dataplane_.ProgrammedDigest(model_);
  if (stream_ != &stream) {
    result.status = absl::AbortedError("another stream took over");
    return result;
  }
  if (result.version <= stream_version_) {
    result.status = InvalidArgument("version {}: is not above {}",
                                    result.version, stream_version_);
    return result;
  }
  const auto* delta = std::get_if<DeltaCall>(&call);
  if (delta && delta->base_version != stream_version_) {
    result.status =
        FailedPrecondition("base_version {}: this edge has version {}",
                           delta->base_version, stream_version_);
    result.snapshot_needed = true;
    return result;
  }
  const auto judged = Judge(call);
  result.status = judged.status();
  if (result.status.ok()) result.status = ApplyJudged(judged->accepted);
  if (!result.status.ok()) {
    spdlog::warn("version {}: refused: {}", result.version,
                 Message(result.status));
    return result;
  }
  stream_version_ = result.version;
  refused_ = delta ? Untouched(refused_, delta->delta) : std::vector<Refusal>();
  refused_.insert(refused_.end(), judged->refusals.begin(),
                  judged->refusals.end());
  result.refused = judged->refusals;
  result.digest = dataplane_.ProgrammedDigest(model_);
  result.apply_time = SteadyClock::now() - start;
  applied_version_ = result.version;
  applied_at_ = std::chrono::system_clock::now();
  apply_time_ = result.apply_time;
  SendReportIfChanged();
  spdlog::info(
      "version {}: {} mappings changed, {} removed, {} refused, now {}, "
      "{:.2f} ms",
      result.version, judged->accepted.mappings.size(),
      judged->accepted.removed_mappings.size(), result.refused.size(),
      model_.mapping_count(),
      std::chrono::duration<double, std::milli>(result.apply_time).count());
  if (judged->accepted.mappings.size() >= kBulk) {
    loop_.After(milliseconds(0), [] { malloc_trim(0); });
  }
  return result;
}

absl::Status Edge::ApplyJudged(const protocol::EdgeDelta& accepted) {
  if (adopting_) {
    adopting_ = false;
    in_doubt_ = true;
    model_.Commit(accepted);
    SaveSoon();
    // Uplinks that the kernel already serves go on while they are first heard.
    health_.Update(model_, SteadyClock::now(), /*grace=*/true);
    Reconcile();
    return programmed_ ? absl::OkStatus() : Unavailable("{}", trouble_);
  }
  // An ACK speaks of what was read back, also when nothing is to be changed.
  if (in_doubt_) Reconcile();
  if (!programmed_) return Unavailable("not serving yet: {}", trouble_);
  if (accepted.empty()) return absl::OkStatus();
  if (AddsToTunnel(accepted)) {
    // Before the table: nothing of it is written when this fails.
    EdgeModel after = model_;
    after.Commit(accepted);
    const absl::Status status = dataplane_.ReconcileTunnel(after, endpoints_);
    if (!status.ok()) {
      ReconcileSoon();
      return status;
    }
  }
  if (const absl::Status status = dataplane_.ApplyDelta(model_, accepted);
      !status.ok()) {
    ReconcileSoon();  // back to the last good state, observed anew
    return status;
  }
  model_.Commit(accepted);
  SaveSoon();
  DeleteStaleFlowsSoon();
  if (!ChangesTunnel(accepted)) return absl::OkStatus();
  health_.Update(model_, SteadyClock::now());
  ArmHealthTimer();
  CheckHealth();
  // What was removed goes last; the mappings serve already.
  const absl::Status status = dataplane_.ReconcileTunnel(model_, endpoints_);
  if (!status.ok()) {
    spdlog::warn("tunnel: {}; trying again", Message(status));
    ReconcileSoon();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MappingStatus>> Edge::Mappings() const {
  return dataplane_.Mappings();
}

void Edge::ForgetEpoch() {
  gate_ = EpochGate(join_.cluster_uid, std::nullopt);
  Save();
}

absl::Status Edge::Remove() {
  heartbeats_.reset();
  loop_.Cancel(std::exchange(save_timer_, 0));
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
  save_timer_ = loop_.After(kSaveDelay, [this] { Save(); });
}

void Edge::Save() {
  loop_.Cancel(std::exchange(save_timer_, 0));
  const absl::Status status = store_.Save(
      {.epoch = gate_.seen(),
       .state = model_.ToState(),
       .endpoints = endpoints_,
       .switched_interfaces = dataplane_.facts().switched_interfaces});
  stored_switched_ = dataplane_.facts().switched_interfaces;
  const std::string problem(Message(status));
  if (problem != not_durable_) {
    if (status.ok()) {
      spdlog::info("state is durable again");
    } else {
      spdlog::error("StateNotDurable: {}", problem);
    }
  }
  not_durable_ = problem;
}

}  // namespace edged::edge
