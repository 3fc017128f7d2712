#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace edged {

// Format: text (the default) or json, one object per line with time, level,
// program, message. Level: trace, debug, info (the default), warn, error. Empty
// means not said.
struct LogSettings {
  std::string format;
  std::string level;
};

// InvalidArgument names the value and what it may be.
absl::Status CheckLogFormat(std::string_view format);
absl::Status CheckLogLevel(std::string_view level);

// Sets up spdlog's default logger on standard error. LOG_FORMAT and LOG_LEVEL
// of the environment come before `settings`. InvalidArgument names the setting
// or the variable and its value. Code logs with spdlog::info(...) and friends:
// one line per change with object, version and duration; never a secret.
absl::Status SetUpLogging(std::string_view program,
                          const LogSettings& settings = {});

// Writes what a library says about others. That may repeat their bytes, and as
// often as they like, so it is cut, and ten lines are followed by two a minute.
// On any thread.
void LogOfLibrary(std::string_view library, std::string_view text);

}  // namespace edged
