#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace edged {

// Sets up spdlog's default logger on standard error from LOG_FORMAT (text, the
// default, or json: one object per line with time, level, message) and
// LOG_LEVEL (trace, debug, info, warn, error). InvalidArgument names the
// variable and its value. Code logs with spdlog::info(...) and friends:
// one line per change with object, version and duration; never a secret.
absl::Status SetUpLogging(std::string_view program);

}  // namespace edged
