#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "clusteragent/edge/edge_client.h"
#include "edged/v1/edge.pb.h"

// The border between the agent's values and the edge's gRPC messages.

namespace edged::agent {

v1::RegisterRequest RegisterRequest(const Epoch& epoch,
                                    const protocol::Uplink& uplink,
                                    const std::string& edge);
v1::SyncRequest HelloRequest(const Epoch& epoch,
                             const protocol::Digest& digest);
// Chunks of at most 1,000 records, fewer where they are large; the last one
// says so.
std::vector<v1::SyncRequest> SnapshotRequests(uint64_t version,
                                              const protocol::EdgeState& state);
v1::SyncRequest DeltaRequest(uint64_t base_version, uint64_t version,
                             const protocol::EdgeDelta& delta);
v1::SyncRequest KeyStoredRequest(const PublicKey& key);

absl::StatusOr<EdgeWelcome> FromProto(const v1::Welcome& proto);
// Unset: of a newer edge, or only a count of what was lost.
std::optional<EdgeEvent> FromProto(const v1::WatchEventsResponse& proto);
absl::StatusOr<EdgeResult> FromProto(const v1::Result& proto);
absl::StatusOr<EdgeLifeReport> FromProto(const v1::Report& proto);
// Nothing for a phase of a newer edge.
absl::StatusOr<std::optional<EdgeKeyNotice>> FromProto(
    const v1::EdgeKey& proto);

}  // namespace edged::agent
