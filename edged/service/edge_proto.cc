#include "edged/service/edge_proto.h"

#include <algorithm>

#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "common/utf8.h"
#include "common/version.h"

namespace edged::edge {
namespace {

using record_proto::DigestFromProto;

// Bound the memory of a snapshot. More than the 262,144 mappings, 65,535 groups
// and 63 uplinks that an edge has at most.
constexpr size_t kMostRecords = 330'000;
constexpr size_t kMostBytes = 64 << 20;
// Of mappings that are refused one by one: an agent sends none.
constexpr size_t kMostMalformed = 1'000;

google::protobuf::Timestamp Timestamp(WallTime time) {
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(
                               time.time_since_epoch())
                               .count();
  google::protobuf::Timestamp proto;
  proto.set_seconds(nanoseconds / 1'000'000'000);
  proto.set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  return proto;
}

google::protobuf::Duration Duration(std::chrono::nanoseconds duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / 1'000'000'000);
  proto.set_nanos(static_cast<int32_t>(duration.count() % 1'000'000'000));
  return proto;
}

// Names that others gave (of processes, chains, links) may be any bytes, and a
// message with such a string is read by nobody.
std::string Utf8(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    clean += length == 0 ? "?" : text.substr(0, length);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return clean;
}

Epoch FromProto(const v1::Epoch& proto) {
  return {proto.cluster_uid(), proto.number()};
}

void Fill(const Refusal& refusal, v1::RefusedMapping& proto) {
  *proto.mutable_listener() = record_proto::ToProto(refusal.listener);
  proto.set_reason(refusal.reason);
  proto.set_message(refusal.message);
}

void Fill(const ResolvedAddress& address, v1::ResolvedAddress& proto) {
  proto.set_address(address.address.ToString());
  if (address.nic_address) {
    proto.set_nic_address(address.nic_address->ToString());
  }
  proto.set_interface(address.interface);
  proto.set_error(address.error);
}

void Fill(const Report& report, v1::Report& proto) {
  for (const UplinkLife& life : report.uplinks) {
    v1::UplinkLife& added = *proto.add_uplinks();
    added.set_name(life.name);
    added.set_alive(life.alive);
    added.set_draining(life.draining);
    added.set_applied_digest(record_proto::ToProto(life.applied));
    if (life.last_handshake) {
      *added.mutable_last_handshake() = Timestamp(*life.last_handshake);
    }
  }
  for (const Refusal& refusal : report.not_programmed) {
    Fill(refusal, *proto.add_not_programmed());
  }
  proto.set_digest(record_proto::ToProto(report.digest));
  for (const std::string& warning : report.warnings) {
    proto.add_warnings(warning);
  }
  proto.set_mtu(report.mtu);
  for (const ResolvedAddress& address : report.addresses) {
    Fill(address, *proto.add_addresses());
  }
}

void Fill(const KeyNotice& notice, v1::EdgeKey& proto) {
  switch (notice.phase) {
    case OwnKeys::Phase::kInUse:
      proto.set_phase(v1::EdgeKey::PHASE_IN_USE);
      break;
    case OwnKeys::Phase::kProposed:
      proto.set_phase(v1::EdgeKey::PHASE_PROPOSED);
      break;
    case OwnKeys::Phase::kSwitching:
      proto.set_phase(v1::EdgeKey::PHASE_SWITCHING);
      break;
  }
  proto.set_public_key(notice.key.ToString());
  proto.set_key_in_use(notice.in_use.ToString());
}

void Fill(const UplinkStatus& status, v1::UplinkState& proto) {
  proto.set_name(status.uplink.name);
  proto.set_public_key(status.uplink.key.ToString());
  proto.set_address(status.address.ToString());
  if (status.endpoint) proto.set_endpoint(status.endpoint->ToString());
  proto.set_alive(status.life.alive);
  proto.set_draining(status.life.draining);
  if (status.life.last_handshake) {
    *proto.mutable_last_handshake() = Timestamp(*status.life.last_handshake);
  }
  if (status.last_heartbeat) {
    *proto.mutable_last_heartbeat() = Timestamp(*status.last_heartbeat);
  }
  proto.set_received_bytes(status.received_bytes);
  proto.set_sent_bytes(status.sent_bytes);
  proto.set_applied_digest(status.life.applied.ToString());
  proto.set_mtu(status.mtu);
}

void Fill(const Culprit& culprit, v1::Culprit& proto) {
  proto.set_pid(culprit.pid);
  proto.set_process(Utf8(culprit.process));
  proto.set_netlink_port(culprit.port);
}

v1::DriftPart ToProto(DriftPart part) {
  switch (part) {
    case DriftPart::kTable:
      return v1::DRIFT_PART_TABLE;
    case DriftPart::kNetwork:
      return v1::DRIFT_PART_NETWORK;
    case DriftPart::kTunnel:
      return v1::DRIFT_PART_TUNNEL;
  }
  return v1::DRIFT_PART_UNSPECIFIED;
}

void Fill(const Drift& drift, v1::Drift& proto) {
  proto.set_part(ToProto(drift.part));
  proto.set_what(Utf8(drift.what));
  Fill(drift.by, *proto.mutable_by());
  proto.set_repair(Utf8(drift.repair));
  proto.set_error(Utf8(drift.error));
  *proto.mutable_took() = Duration(drift.took);
}

void Fill(const Flood& flood, v1::Flood& proto) {
  proto.set_over(flood.over);
  Fill(flood.by, *proto.mutable_by());
  proto.set_changes(flood.changes);
  proto.set_repairs(flood.repairs);
  if (flood.over) *proto.mutable_lasted() = Duration(flood.lasted);
}

// Parses every record of `from` to the end of `to`.
template <typename Proto, typename Record>
absl::Status Append(const google::protobuf::RepeatedPtrField<Proto>& from,
                    std::vector<Record>& to) {
  to.reserve(to.size() + from.size());
  for (const Proto& proto : from) {
    ASSIGN_OR_RETURN(auto record, record_proto::FromProto(proto));
    to.push_back(std::move(record));
  }
  return absl::OkStatus();
}

// Like Append, but a mapping that does not parse goes to `malformed`, if it is
// one of a few.
absl::Status AppendMappings(
    const google::protobuf::RepeatedPtrField<v1::Mapping>& from,
    std::vector<protocol::Mapping>& to,
    std::vector<v1::RefusedMapping>& malformed) {
  to.reserve(to.size() + from.size());
  for (const v1::Mapping& proto : from) {
    auto mapping = record_proto::FromProto(proto);
    if (mapping.ok()) {
      to.push_back(*std::move(mapping));
      continue;
    }
    if (malformed.size() == kMostMalformed) return mapping.status();
    v1::RefusedMapping& refused = malformed.emplace_back();
    *refused.mutable_listener() = proto.listener();
    refused.set_reason("InvalidMapping");
    refused.set_message(std::string(Message(mapping.status())));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RegisterCall> FromProto(const v1::RegisterRequest& proto) {
  ASSIGN_OR_RETURN(protocol::Uplink uplink,
                   record_proto::FromProto(proto.uplink()));
  return RegisterCall{FromProto(proto.epoch()), std::move(uplink),
                      proto.edge()};
}

absl::StatusOr<Hello> FromProto(const v1::Hello& proto) {
  ASSIGN_OR_RETURN(const protocol::Digest digest,
                   DigestFromProto(proto.digest()));
  return Hello{FromProto(proto.epoch()), digest, proto.version()};
}

absl::StatusOr<DecodedChange> FromProto(const v1::Delta& proto) {
  DecodedChange change;
  DeltaCall call;
  call.base_version = proto.base_version();
  call.version = proto.version();
  if (proto.has_settings()) {
    ASSIGN_OR_RETURN(call.delta.settings,
                     record_proto::FromProto(proto.settings()));
  }
  call.delta.removed_uplinks.assign(proto.removed_uplinks().begin(),
                                    proto.removed_uplinks().end());
  call.delta.removed_groups.assign(proto.removed_groups().begin(),
                                   proto.removed_groups().end());
  RETURN_IF_ERROR(Append(proto.uplinks(), call.delta.uplinks));
  RETURN_IF_ERROR(Append(proto.groups(), call.delta.groups));
  RETURN_IF_ERROR(
      Append(proto.removed_mappings(), call.delta.removed_mappings));
  RETURN_IF_ERROR(
      AppendMappings(proto.mappings(), call.delta.mappings, change.malformed));
  change.call = std::move(call);
  return change;
}

absl::StatusOr<bool> SnapshotAssembler::Add(const v1::SnapshotChunk& chunk) {
  if (mistake_.ok()) {
    mistake_ = AddRecords(chunk);
    if (!mistake_.ok()) {
      call_.state = {};
      malformed_ = {};
    }
  }
  if (!chunk.last() || mistake_.ok()) return chunk.last();
  return std::exchange(*this, SnapshotAssembler()).mistake_;
}

absl::Status SnapshotAssembler::AddRecords(const v1::SnapshotChunk& chunk) {
  if (!std::exchange(begun_, true)) call_.version = chunk.version();
  if (call_.version != chunk.version()) {
    return InvalidArgument("snapshot version: {} inside version {}",
                           chunk.version(), call_.version);
  }
  if (chunk.has_settings()) {
    ASSIGN_OR_RETURN(call_.state.settings,
                     record_proto::FromProto(chunk.settings()));
  }
  RETURN_IF_ERROR(Append(chunk.uplinks(), call_.state.uplinks));
  RETURN_IF_ERROR(Append(chunk.groups(), call_.state.groups));
  RETURN_IF_ERROR(
      AppendMappings(chunk.mappings(), call_.state.mappings, malformed_));
  const size_t records = call_.state.uplinks.size() +
                         call_.state.groups.size() +
                         call_.state.mappings.size() + malformed_.size();
  if (records > kMostRecords) {
    return InvalidArgument("snapshot version {}: more than {} records",
                           call_.version, kMostRecords);
  }
  bytes_ += chunk.ByteSizeLong();
  if (bytes_ > kMostBytes) {
    return InvalidArgument("snapshot version {}: more than {} MiB",
                           call_.version, kMostBytes >> 20);
  }
  return absl::OkStatus();
}

DecodedChange SnapshotAssembler::Take() {
  SnapshotAssembler done = std::exchange(*this, SnapshotAssembler());
  std::ranges::sort(done.call_.state.uplinks);
  std::ranges::sort(done.call_.state.groups);
  std::ranges::sort(done.call_.state.mappings);
  return {std::move(done.call_), std::move(done.malformed_)};
}

v1::SyncResponse ToProto(const Welcome& welcome) {
  v1::SyncResponse response;
  v1::Welcome& proto = *response.mutable_welcome();
  proto.set_digest(record_proto::ToProto(welcome.digest));
  for (const std::string& port : welcome.reserved_ports) {
    proto.add_reserved_ports(port);
  }
  proto.set_version(kVersion);
  proto.add_features(protocol::kAccessFeature);
  Fill(welcome.report, *proto.mutable_report());
  Fill(welcome.key, *proto.mutable_key());
  return response;
}

v1::SyncResponse ToProto(const SyncResult& result) {
  v1::SyncResponse response;
  v1::Result& proto = *response.mutable_result();
  proto.set_version(result.version);
  proto.set_ack(result.status.ok());
  proto.set_error(std::string(Message(result.status)));
  proto.set_snapshot_needed(result.snapshot_needed);
  proto.set_digest(record_proto::ToProto(result.digest));
  for (const Refusal& refusal : result.refused) {
    Fill(refusal, *proto.add_refused());
  }
  *proto.mutable_apply_time() = Duration(result.apply_time);
  return response;
}

v1::SyncResponse ToProto(const Report& report) {
  v1::SyncResponse response;
  Fill(report, *response.mutable_report());
  return response;
}

v1::SyncResponse ToProto(const KeyNotice& notice) {
  v1::SyncResponse response;
  Fill(notice, *response.mutable_key());
  return response;
}

v1::GetStateResponse ToProto(const EdgeStatus& status) {
  v1::GetStateResponse proto;
  proto.set_version(kVersion);
  *proto.mutable_started() = Timestamp(status.started);
  v1::Enrolment& enrolment = *proto.mutable_enrolment();
  enrolment.set_enrolled(status.enrolled);
  enrolment.set_cluster_uid(status.cluster_uid);
  enrolment.set_edge(status.edge);
  enrolment.set_contacted(status.contacted);
  v1::Tunnel& tunnel = *proto.mutable_tunnel();
  tunnel.set_device(status.device);
  tunnel.set_backend(status.backend);
  if (!status.public_key.is_zero()) {
    tunnel.set_public_key(status.public_key.ToString());
  }
  if (!status.next_public_key.is_zero()) {
    tunnel.set_next_public_key(status.next_public_key.ToString());
  }
  tunnel.set_key_of_token(status.key_of_token);
  tunnel.set_listen_port(status.listen_port);
  if (status.network) tunnel.set_network(status.network->ToString());
  if (status.network6) tunnel.set_network6(status.network6->ToString());
  if (status.address) tunnel.set_address(status.address->ToString());
  tunnel.set_mtu(status.mtu);
  for (const UplinkStatus& uplink : status.uplinks) {
    Fill(uplink, *proto.add_uplinks());
  }
  for (const ResolvedAddress& address : status.addresses) {
    Fill(address, *proto.add_addresses());
  }
  for (const protocol::Group& group : status.groups) {
    *proto.add_groups() = record_proto::ToProto(group);
  }
  proto.set_mapping_count(status.mapping_count);
  if (status.epoch) {
    proto.mutable_epoch()->set_cluster_uid(status.epoch->cluster_uid);
    proto.mutable_epoch()->set_number(status.epoch->number);
  }
  proto.set_digest(status.digest.ToString());
  proto.set_applied_version(status.applied_version);
  if (status.applied_at) {
    *proto.mutable_applied_at() = Timestamp(*status.applied_at);
  }
  *proto.mutable_apply_time() = Duration(status.apply_time);
  for (const Refusal& refusal : status.refused) {
    Fill(refusal, *proto.add_refused());
  }
  for (const std::string& warning : status.warnings) {
    proto.add_warnings(warning);
  }
  for (const EdgeEvent& event : status.recent_events) {
    *proto.add_recent_events() = ToProto(EventQueue::Entry(event));
  }
  return proto;
}

v1::MappingState ToProto(const MappingStatus& mapping) {
  v1::MappingState proto;
  *proto.mutable_mapping() = record_proto::ToProto(mapping.mapping);
  proto.set_connections(mapping.connections);
  proto.set_nic_address(mapping.nic_address.ToString());
  return proto;
}

v1::WatchEventsResponse ToProto(const EventQueue::Entry& entry) {
  v1::WatchEventsResponse proto;
  if (const auto* lost = std::get_if<LostEvents>(&entry)) {
    proto.mutable_lost()->set_count(lost->count);
    return proto;
  }
  const EdgeEvent& event = std::get<EdgeEvent>(entry);
  *proto.mutable_at() = Timestamp(event.at);
  if (const auto* drift = std::get_if<Drift>(&event.what)) {
    Fill(*drift, *proto.mutable_drift());
  } else {
    Fill(std::get<Flood>(event.what), *proto.mutable_flood());
  }
  return proto;
}

}  // namespace edged::edge
