#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "clusteragent/controller/kube_control_plane.h"

namespace edged::agent {

// A token for `edged join` of an EdgeNode of Kubernetes, whose status then
// remembers it, for the leader. Waits for the API server. NotFound or
// FailedPrecondition says what is missing: the object, or a leader that gives
// it a network.
absl::StatusOr<std::string> IssueKubeToken(const KubeOptions& options,
                                           const std::string& edge,
                                           std::chrono::seconds lifetime);

}  // namespace edged::agent
