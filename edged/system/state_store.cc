#include "edged/system/state_store.h"

#include <algorithm>
#include <cstdio>

#include "common/files.h"
#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "edged/v1/state.pb.h"

namespace edged::edge {
namespace {

// The second has groups that do not admit everybody; without such a group it is
// the first, which an older edged can read.
constexpr uint32_t kFormat = 2;

bool HasAccess(const protocol::EdgeState& state) {
  return std::ranges::any_of(state.groups, [](const protocol::Group& group) {
    return !group.access.empty();
  });
}

// 60,000 mappings take 3 MB.
constexpr size_t kLongest = 64 << 20;

v1::StoredState ToProto(const StoredState& state) {
  v1::StoredState proto;
  proto.set_format(HasAccess(state.state) ? kFormat : 1);
  if (state.network) proto.set_network(state.network->ToString());
  if (state.epoch) {
    proto.mutable_epoch()->set_cluster_uid(state.epoch->cluster_uid);
    proto.mutable_epoch()->set_number(state.epoch->number);
  }
  *proto.mutable_settings() = record_proto::ToProto(state.state.settings);
  for (const auto& uplink : state.state.uplinks) {
    *proto.add_uplinks() = record_proto::ToProto(uplink);
  }
  for (const auto& group : state.state.groups) {
    *proto.add_groups() = record_proto::ToProto(group);
  }
  for (const auto& mapping : state.state.mappings) {
    *proto.add_mappings() = record_proto::ToProto(mapping);
  }
  for (const auto& [key, endpoint] : state.endpoints) {
    v1::StoredEndpoint& added = *proto.add_endpoints();
    added.set_public_key(key.ToString());
    added.set_endpoint(endpoint.ToString());
  }
  for (const std::string& interface : state.switched_interfaces) {
    proto.add_switched_interfaces(interface);
  }
  return proto;
}

absl::StatusOr<StoredState> FromProto(const v1::StoredState& proto) {
  if (proto.format() > kFormat) {
    return absl::DataLossError(
        fmt::format("it is of a newer edged, format {}", proto.format()));
  }
  StoredState state;
  if (!proto.network().empty()) {
    ASSIGN_OR_RETURN(state.network, IpPrefix::Parse(proto.network()));
  }
  if (proto.has_epoch()) {
    state.epoch = Epoch{proto.epoch().cluster_uid(), proto.epoch().number()};
  }
  ASSIGN_OR_RETURN(state.state.settings,
                   record_proto::FromProto(proto.settings()));
  for (const auto& uplink : proto.uplinks()) {
    ASSIGN_OR_RETURN(auto record, record_proto::FromProto(uplink));
    state.state.uplinks.push_back(std::move(record));
  }
  for (const auto& group : proto.groups()) {
    ASSIGN_OR_RETURN(auto record, record_proto::FromProto(group));
    state.state.groups.push_back(std::move(record));
  }
  state.state.mappings.reserve(proto.mappings_size());
  for (const auto& mapping : proto.mappings()) {
    ASSIGN_OR_RETURN(auto record, record_proto::FromProto(mapping));
    state.state.mappings.push_back(std::move(record));
  }
  for (const auto& stored : proto.endpoints()) {
    ASSIGN_OR_RETURN(const auto key, PublicKey::Parse(stored.public_key()));
    ASSIGN_OR_RETURN(const auto endpoint,
                     SocketAddress::Parse(stored.endpoint()));
    state.endpoints.emplace(key, endpoint);
  }
  state.switched_interfaces.insert(proto.switched_interfaces().begin(),
                                   proto.switched_interfaces().end());
  return state;
}

absl::StatusOr<StoredState> Parse(const std::string& content) {
  v1::StoredState proto;
  if (!proto.ParseFromString(content)) {
    return absl::DataLossError("does not parse");
  }
  return FromProto(proto);
}

}  // namespace

absl::StatusOr<StoredState> StateStore::Load() {
  const auto content = ReadChecksummed(path_, kLongest);
  if (absl::IsNotFound(content.status())) return StoredState();
  if (!content.ok() && !absl::IsDataLoss(content.status())) {
    return Annotate(content.status(), "state file " + path_);
  }
  auto state = content.ok() ? Parse(*content) : content.status();
  if (state.ok()) return state;
  return absl::DataLossError(
      fmt::format("state file {} cannot be used ({}); kept as {}", path_,
                  Message(state.status()), KeepAside()));
}

std::string StateStore::KeepAside() {
  const std::string aside = path_ + ".damaged";
  std::rename(path_.c_str(), aside.c_str());
  return aside;
}

absl::Status StateStore::Save(const StoredState& state) const {
  return WriteChecksummed(path_, ToProto(state).SerializeAsString());
}

absl::Status StateStore::Remove() { return RemoveFile(path_); }

}  // namespace edged::edge
