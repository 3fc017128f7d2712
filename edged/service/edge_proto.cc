#include "edged/service/edge_proto.h"

#include <algorithm>

#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "common/version.h"

namespace edged::edge {
namespace {

using record_proto::DigestFromProto;

// Bounds the memory of a snapshot: every port of both protocols on 15 public
// addresses is 2 million mappings.
constexpr size_t kMostRecords = 2'500'000;

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

// Like Append, but a mapping that does not parse goes to `malformed`.
void AppendMappings(const google::protobuf::RepeatedPtrField<v1::Mapping>& from,
                    std::vector<protocol::Mapping>& to,
                    std::vector<v1::RefusedMapping>& malformed) {
  to.reserve(to.size() + from.size());
  for (const v1::Mapping& proto : from) {
    auto mapping = record_proto::FromProto(proto);
    if (mapping.ok()) {
      to.push_back(*std::move(mapping));
      continue;
    }
    v1::RefusedMapping& refused = malformed.emplace_back();
    *refused.mutable_listener() = proto.listener();
    refused.set_reason("InvalidMapping");
    refused.set_message(std::string(Message(mapping.status())));
  }
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
  AppendMappings(proto.mappings(), call.delta.mappings, change.malformed);
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
  AppendMappings(chunk.mappings(), call_.state.mappings, malformed_);
  const size_t records = call_.state.uplinks.size() +
                         call_.state.groups.size() +
                         call_.state.mappings.size() + malformed_.size();
  if (records > kMostRecords) {
    return InvalidArgument("snapshot version {}: more than {} records",
                           call_.version, kMostRecords);
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
  Fill(welcome.report, *proto.mutable_report());
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
  tunnel.set_listen_port(status.listen_port);
  if (status.network) tunnel.set_network(status.network->ToString());
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
  return proto;
}

v1::MappingState ToProto(const MappingStatus& mapping) {
  v1::MappingState proto;
  *proto.mutable_mapping() = record_proto::ToProto(mapping.mapping);
  proto.set_connections(mapping.connections);
  proto.set_nic_address(mapping.nic_address.ToString());
  return proto;
}

}  // namespace edged::edge
