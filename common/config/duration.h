#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace edged::config {

// "1h", "15m", "30s", "250ms", "1h30m": exact, positive, larger units first;
// anything else is InvalidArgument.
absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view text);
// As ParseDuration reads it; "0s" for nothing.
std::string FormatDuration(std::chrono::milliseconds duration);

}  // namespace edged::config
