#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/uplink/host.h"

// The commands of clusteragent that look or prepare, and end.

namespace edged::agent {

// What each edge would get from an uplink on `host`; touches nothing. `state`
// may be empty: then nothing is recorded yet.
absl::StatusOr<std::string> PlanCommand(const std::string& manifests,
                                        const std::string& state,
                                        const std::string& uplink_name,
                                        const UplinkHost& host);

// One line for every mistake in the files; empty when all is well.
std::vector<std::string> ValidateCommand(const std::vector<std::string>& files);

// The statuses that the running agent wrote last.
absl::StatusOr<std::string> StatusCommand(const std::string& state, bool json);

// A token for an EdgeNode, good for `lifetime`; it replaces the one given out
// before. Records the edge's network if it has none yet. FailedPrecondition
// when a recorded EdgeNode is missing among manifests that hold mistakes: its
// record would be given up.
absl::StatusOr<std::string> TokenCommand(const std::string& edge,
                                         const std::string& manifests,
                                         const std::string& state,
                                         const UplinkHost& host,
                                         std::chrono::seconds lifetime);

}  // namespace edged::agent
