#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace edged::edge {

// The state of the edged that serves `socket` (GetState), for `edged status`.
// Unavailable when none does.
absl::StatusOr<std::string> StateAsJson(const std::string& socket);
absl::StatusOr<std::string> StateAsTable(const std::string& socket);

// Replaces the edge's key by RotateKey, for `edged rotate-key`: waits until it
// is done, and says so. Unavailable when it is not done within `patience`; it
// may be later.
absl::StatusOr<std::string> RotateKey(const std::string& socket,
                                      std::chrono::seconds patience);

}  // namespace edged::edge
