#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace edged::edge {

// The state of the edged that serves `socket` (GetState), for `edged status`.
// Unavailable when none does.
absl::StatusOr<std::string> StateAsJson(const std::string& socket);
absl::StatusOr<std::string> StateAsTable(const std::string& socket);

}  // namespace edged::edge
