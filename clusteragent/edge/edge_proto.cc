#include "clusteragent/edge/edge_proto.h"

#include <algorithm>

#include "clusteragent/edge/message_weight.h"
#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "common/version.h"

namespace edged::agent {
namespace {

using record_proto::DigestFromProto;
using record_proto::ToProto;

constexpr size_t kChunk = 1'000;

void Fill(const Epoch& epoch, v1::Epoch& proto) {
  proto.set_cluster_uid(epoch.cluster_uid);
  proto.set_number(epoch.number);
}

absl::StatusOr<std::vector<RefusedMapping>> Refusals(
    const google::protobuf::RepeatedPtrField<v1::RefusedMapping>& from) {
  std::vector<RefusedMapping> refusals;
  for (const v1::RefusedMapping& proto : from) {
    ASSIGN_OR_RETURN(const auto listener,
                     record_proto::FromProto(proto.listener()));
    refusals.push_back({listener, proto.reason(), proto.message()});
  }
  return refusals;
}

// Any number can stand there; 64 bits of nanoseconds count to 292 years.
std::chrono::nanoseconds Nanoseconds(int64_t seconds, int32_t nanos) {
  constexpr int64_t kMost = 9'000'000'000;
  return std::chrono::seconds(std::clamp<int64_t>(seconds, 0, kMost)) +
         std::chrono::nanoseconds(nanos);
}

DriftPart PartOf(v1::DriftPart part) {
  switch (part) {
    case v1::DRIFT_PART_NETWORK:
      return DriftPart::kNetwork;
    case v1::DRIFT_PART_TUNNEL:
      return DriftPart::kTunnel;
    default:
      return DriftPart::kTable;
  }
}

Culprit CulpritOf(const v1::Culprit& proto) {
  return {proto.pid(), proto.process(), proto.netlink_port()};
}

// Spreads records over chunks: a new one begins when the last has no room. An
// edge takes messages of 4 MiB.
class Chunker {
 public:
  explicit Chunker(uint64_t version) : version_(version) { Begin(); }

  v1::SnapshotChunk& Next(size_t weight = 1) {
    if (filled_ > 0 && filled_ + weight > kChunk) {
      Begin();
      filled_ = 0;
    }
    filled_ += weight;
    return *requests_.back().mutable_snapshot();
  }
  std::vector<v1::SyncRequest> Finish() {
    requests_.back().mutable_snapshot()->set_last(true);
    return std::move(requests_);
  }

 private:
  void Begin() {
    requests_.emplace_back().mutable_snapshot()->set_version(version_);
  }

  uint64_t version_;
  size_t filled_ = 0;
  std::vector<v1::SyncRequest> requests_;
};

}  // namespace

v1::RegisterRequest RegisterRequest(const Epoch& epoch,
                                    const protocol::Uplink& uplink,
                                    const std::string& edge) {
  v1::RegisterRequest request;
  Fill(epoch, *request.mutable_epoch());
  *request.mutable_uplink() = ToProto(uplink);
  request.set_edge(edge);
  return request;
}

v1::SyncRequest HelloRequest(const Epoch& epoch,
                             const protocol::Digest& digest) {
  v1::SyncRequest request;
  v1::Hello& hello = *request.mutable_hello();
  Fill(epoch, *hello.mutable_epoch());
  hello.set_digest(ToProto(digest));
  hello.set_version(kVersion);
  return request;
}

std::vector<v1::SyncRequest> SnapshotRequests(
    uint64_t version, const protocol::EdgeState& state) {
  Chunker chunks(version);
  *chunks.Next().mutable_settings() = ToProto(state.settings);
  for (const auto& uplink : state.uplinks) {
    *chunks.Next().add_uplinks() = ToProto(uplink);
  }
  for (const auto& group : state.groups) {
    *chunks.Next(WeightOf(group)).add_groups() = ToProto(group);
  }
  for (const auto& mapping : state.mappings) {
    *chunks.Next().add_mappings() = ToProto(mapping);
  }
  return chunks.Finish();
}

v1::SyncRequest DeltaRequest(uint64_t base_version, uint64_t version,
                             const protocol::EdgeDelta& delta) {
  v1::SyncRequest request;
  v1::Delta& proto = *request.mutable_delta();
  proto.set_base_version(base_version);
  proto.set_version(version);
  if (delta.settings) *proto.mutable_settings() = ToProto(*delta.settings);
  for (const auto& name : delta.removed_uplinks) {
    proto.add_removed_uplinks(name);
  }
  for (const auto& uplink : delta.uplinks) {
    *proto.add_uplinks() = ToProto(uplink);
  }
  for (const auto& name : delta.removed_groups) proto.add_removed_groups(name);
  for (const auto& group : delta.groups) *proto.add_groups() = ToProto(group);
  for (const auto& listener : delta.removed_mappings) {
    *proto.add_removed_mappings() = ToProto(listener);
  }
  for (const auto& mapping : delta.mappings) {
    *proto.add_mappings() = ToProto(mapping);
  }
  return request;
}

v1::SyncRequest KeyStoredRequest(const PublicKey& key) {
  v1::SyncRequest request;
  request.mutable_key_stored()->set_public_key(key.ToString());
  return request;
}

absl::StatusOr<std::optional<EdgeKeyNotice>> FromProto(
    const v1::EdgeKey& proto) {
  using Phase = EdgeKeyNotice::Phase;
  EdgeKeyNotice notice;
  switch (proto.phase()) {
    case v1::EdgeKey::PHASE_IN_USE:
      notice.phase = Phase::kInUse;
      break;
    case v1::EdgeKey::PHASE_PROPOSED:
      notice.phase = Phase::kProposed;
      break;
    case v1::EdgeKey::PHASE_SWITCHING:
      notice.phase = Phase::kSwitching;
      break;
    default:
      return std::nullopt;
  }
  ASSIGN_OR_RETURN(notice.key, PublicKey::Parse(proto.public_key()));
  ASSIGN_OR_RETURN(notice.in_use, PublicKey::Parse(proto.key_in_use()));
  return notice;
}

absl::StatusOr<EdgeLifeReport> FromProto(const v1::Report& proto) {
  EdgeLifeReport report;
  for (const v1::UplinkLife& life : proto.uplinks()) {
    ASSIGN_OR_RETURN(const auto applied,
                     DigestFromProto(life.applied_digest()));
    report.uplinks.push_back(
        {life.name(), life.alive(), life.draining(), applied});
  }
  ASSIGN_OR_RETURN(report.not_programmed, Refusals(proto.not_programmed()));
  ASSIGN_OR_RETURN(report.digest, DigestFromProto(proto.digest()));
  report.warnings.assign(proto.warnings().begin(), proto.warnings().end());
  report.mtu = proto.mtu();
  return report;
}

absl::StatusOr<EdgeWelcome> FromProto(const v1::Welcome& proto) {
  EdgeWelcome welcome;
  ASSIGN_OR_RETURN(welcome.digest, DigestFromProto(proto.digest()));
  welcome.reserved_ports.assign(proto.reserved_ports().begin(),
                                proto.reserved_ports().end());
  welcome.version = proto.version();
  welcome.knows_access =
      std::ranges::find(proto.features(), protocol::kAccessFeature) !=
      proto.features().end();
  ASSIGN_OR_RETURN(welcome.report, FromProto(proto.report()));
  if (proto.has_key()) {
    ASSIGN_OR_RETURN(welcome.key, FromProto(proto.key()));
  }
  return welcome;
}

std::optional<EdgeEvent> FromProto(const v1::WatchEventsResponse& proto) {
  EdgeEvent event;
  event.at = std::chrono::system_clock::time_point(
      Nanoseconds(proto.at().seconds(), proto.at().nanos()));
  switch (proto.event_case()) {
    case v1::WatchEventsResponse::kDrift: {
      const v1::Drift& from = proto.drift();
      event.what = Drift{
          .part = PartOf(from.part()),
          .what = from.what(),
          .by = CulpritOf(from.by()),
          .repair = from.repair(),
          .error = from.error(),
          .took = Nanoseconds(from.took().seconds(), from.took().nanos())};
      return event;
    }
    case v1::WatchEventsResponse::kFlood: {
      const v1::Flood& from = proto.flood();
      event.what = Flood{.over = from.over(),
                         .by = CulpritOf(from.by()),
                         .changes = from.changes(),
                         .repairs = from.repairs(),
                         .lasted = Nanoseconds(from.lasted().seconds(),
                                               from.lasted().nanos())};
      return event;
    }
    default:
      return std::nullopt;
  }
}

absl::StatusOr<EdgeResult> FromProto(const v1::Result& proto) {
  EdgeResult result;
  result.version = proto.version();
  result.ack = proto.ack();
  result.error = proto.error();
  result.snapshot_needed = proto.snapshot_needed();
  ASSIGN_OR_RETURN(result.digest, DigestFromProto(proto.digest()));
  ASSIGN_OR_RETURN(result.refused, Refusals(proto.refused()));
  // Any number can stand there; nanoseconds count to 292 years.
  constexpr int64_t kMostSeconds = 24 * 60 * 60;
  result.apply_time = std::chrono::seconds(std::clamp<int64_t>(
                          proto.apply_time().seconds(), 0, kMostSeconds)) +
                      std::chrono::nanoseconds(proto.apply_time().nanos());
  return result;
}

}  // namespace edged::agent
