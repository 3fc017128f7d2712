#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/unique_fd.h"

namespace edged::wireguard {

// Starts argv[0], a path, as a process that outlives this one: init is its
// parent, it has a session and process group of its own, / as its folder,
// /dev/null for its three standard streams, no other descriptor, no blocked
// signal, and exactly `environment`. Returns a pidfd, which becomes readable
// when the process ends. An error when the program cannot be executed.
absl::StatusOr<UniqueFd> StartDetached(std::vector<std::string> argv,
                                       std::vector<std::string> environment);

}  // namespace edged::wireguard
