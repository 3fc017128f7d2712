#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "edged/core/edge_api.h"
#include "edged/core/event_queue.h"
#include "edged/v1/edge.pb.h"

// The border between edged's gRPC messages and its own values.

namespace edged::edge {

absl::StatusOr<RegisterCall> FromProto(const v1::RegisterRequest& proto);
absl::StatusOr<Hello> FromProto(const v1::Hello& proto);

// A change as it was sent. A mapping that does not parse (port 70000) is
// refused alone, in `malformed`, as it was written; any other wrong record
// makes the whole InvalidArgument.
struct DecodedChange {
  ChangeCall call;
  std::vector<v1::RefusedMapping> malformed;
};

absl::StatusOr<DecodedChange> FromProto(const v1::Delta& proto);

// Gathers the chunks of a snapshot. One wrong chunk makes the whole snapshot
// wrong, and the rest of it is read and thrown away: chunks that follow must
// never pass for the whole.
class SnapshotAssembler {
 public:
  // True when `chunk` was the last one; Take() then gives the whole. The first
  // mistake is returned with the last chunk; the next one begins anew.
  absl::StatusOr<bool> Add(const v1::SnapshotChunk& chunk);
  DecodedChange Take();

 private:
  absl::Status AddRecords(const v1::SnapshotChunk& chunk);

  bool begun_ = false;
  size_t bytes_ = 0;  // of all chunks
  absl::Status mistake_;
  SnapshotCall call_;
  std::vector<v1::RefusedMapping> malformed_;
};

v1::SyncResponse ToProto(const Welcome& welcome);
v1::SyncResponse ToProto(const SyncResult& result);
v1::SyncResponse ToProto(const Report& report);
v1::SyncResponse ToProto(const KeyNotice& notice);
v1::GetStateResponse ToProto(const EdgeStatus& status);
v1::MappingState ToProto(const MappingStatus& mapping);
v1::WatchEventsResponse ToProto(const EventQueue::Entry& entry);

}  // namespace edged::edge
