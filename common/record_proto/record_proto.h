#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/protocol/digest.h"
#include "common/protocol/records.h"
#include "edged/v1/edge.pb.h"

// The border between Protobuf and our records, both ways. Behind it every value
// is valid: what does not parse is InvalidArgument that names the record, the
// field and the value.

namespace edged::record_proto {

v1::Settings ToProto(const protocol::Settings& settings);
v1::Uplink ToProto(const protocol::Uplink& uplink);
v1::Group ToProto(const protocol::Group& group);
v1::Listener ToProto(const protocol::Listener& listener);
v1::Mapping ToProto(const protocol::Mapping& mapping);

absl::StatusOr<protocol::Settings> FromProto(const v1::Settings& proto);
absl::StatusOr<protocol::Uplink> FromProto(const v1::Uplink& proto);
absl::StatusOr<protocol::Group> FromProto(const v1::Group& proto);
absl::StatusOr<protocol::Listener> FromProto(const v1::Listener& proto);
absl::StatusOr<protocol::Mapping> FromProto(const v1::Mapping& proto);

std::string ToProto(const protocol::Digest& digest);
// 32 bytes, or none: the empty digest.
absl::StatusOr<protocol::Digest> DigestFromProto(std::string_view bytes);

}  // namespace edged::record_proto
