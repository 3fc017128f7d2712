// The part of Edge that takes what the agents want.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/heap.h"
#include "common/protocol/epoch_refusal.h"
#include "common/status.h"
#include "edged/edge.h"

namespace edged::edge {
namespace {

using SteadyClock = std::chrono::steady_clock;

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

absl::Status Edge::TakeEpoch(const Epoch& epoch) {
  RETURN_IF_ERROR(gate_.Check(epoch));
  contacted_ = true;
  if (gate_.Accept(epoch)) SaveNow();
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
  SaveNow();  // the agent drops the control key now: this must outlive a crash
  spdlog::info("uplink {}: registered, key {}, block {}, epoch {}",
               call.uplink.name, call.uplink.key.Short(), call.uplink.block,
               call.epoch.number);
  return absl::OkStatus();
}

absl::StatusOr<Welcome> Edge::Open(const Hello& hello, SyncStream& stream) {
  RETURN_IF_ERROR(TakeEpoch(hello.epoch));
  if (stream_) {
    std::exchange(stream_, nullptr)
        ->End(absl::AbortedError(protocol::TookOverText(hello.epoch.number)));
  }
  protocol::Digest audited;  // while adopting: nothing, so a snapshot follows
  if (!adopting_) {
    ASSIGN_OR_RETURN(audited, Audit());
  }
  const KeyNotice key = keys_.Contact();
  stream_ = &stream;
  stream_version_ = 0;
  last_report_ = MakeReport();
  Welcome welcome{.digest = audited, .report = last_report_, .key = key};
  for (const ReservedPort& port : limits_.reserved) {
    welcome.reserved_ports.push_back(
        fmt::format("{}/{}", port.port, ToString(port.protocol)));
  }
  spdlog::info("sync: agent {} connected, epoch {}, its digest {}, ours {}",
               hello.version, hello.epoch.number, hello.digest.Short(),
               audited.Short());
  return welcome;
}

void Edge::KeyStored(SyncStream& stream, const PublicKey& key) {
  if (stream_ == &stream) keys_.AgentStored(key);
}

absl::StatusOr<Rotation> Edge::RotateKey() {
  ASSIGN_OR_RETURN(Rotation rotation, keys_.Rotate());
  rotation.agent_connected = stream_ != nullptr;
  return rotation;
}

void Edge::Close(SyncStream& stream) {
  if (stream_ != &stream) return;
  stream_ = nullptr;
  spdlog::info("sync: agent disconnected; the edge goes on as it is");
}

absl::StatusOr<Judgement> Edge::Judge(const ChangeCall& call) {
  const auto* whole = std::get_if<SnapshotCall>(&call);
  const bool has_timeouts = std::ranges::any_of(
      whole ? whole->state.groups : std::get<DeltaCall>(call).delta.groups,
      [](const protocol::Group& group) { return !group.timeouts.empty(); });
  if (has_timeouts) {
    ASSIGN_OR_RETURN(limits_.no_timeouts, dataplane_.WhyNoTimeouts());
  }
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
    loop_.After({}, [] { TrimHeap(); });
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
    uplinks_.Update(model_, /*grace=*/true);
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
    if (const absl::Status status = WriteTunnel(after); !status.ok()) {
      ReconcileSoon();
      return status;
    }
  }
  if (const absl::Status status = dataplane_.ApplyDelta(model_, accepted);
      !status.ok()) {
    ReconcileSoon();  // back to the last good state, observed anew
    return status;
  }
  const FlowSearch search = FlowSearch::After(model_, accepted);
  model_.Commit(accepted);
  SaveSoon();
  flows_.Soon(search);
  if (!ChangesTunnel(accepted)) return absl::OkStatus();
  uplinks_.Update(model_);
  JudgeHealth();
  // What was removed goes last; the mappings serve already.
  if (const absl::Status status = WriteTunnel(model_); !status.ok()) {
    spdlog::warn("tunnel: {}; trying again", Message(status));
    ReconcileSoon();
  }
  return absl::OkStatus();
}

absl::Status Edge::WriteTunnel(const EdgeModel& model) {
  ASSIGN_OR_RETURN(const std::string written,
                   dataplane_.ReconcileTunnel(model, endpoints_));
  TellAstray();
  if (!written.empty()) spdlog::info("tunnel: {}", written);
  return absl::OkStatus();
}

}  // namespace edged::edge
