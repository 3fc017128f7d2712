#include "common/logging.h"

#include <fmt/chrono.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "common/rate_limit.h"
#include "common/status.h"
#include "common/utf8.h"

namespace edged {
namespace {

constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 5>
    kLevels{{{"trace", spdlog::level::trace},
             {"debug", spdlog::level::debug},
             {"info", spdlog::level::info},
             {"warn", spdlog::level::warn},
             {"error", spdlog::level::err}}};

std::string_view NameOf(spdlog::level::level_enum level) {
  for (const auto& [name, known] : kLevels) {
    if (known == level) return name;
  }
  return "critical";
}

class LineFormatter : public spdlog::formatter {
 public:
  LineFormatter(std::string program, bool json)
      : program_(std::move(program)), json_(json) {}

  void format(const spdlog::details::log_msg& message,
              spdlog::memory_buf_t& line) override {
    using std::chrono::milliseconds;
    const auto time = std::chrono::floor<milliseconds>(message.time);
    const std::string stamp =
        fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z",
                    fmt::gmtime(spdlog::log_clock::to_time_t(time)),
                    time.time_since_epoch().count() % 1000);
    // Whatever a message repeats from outside.
    const std::string text = Escaped(
        {message.payload.data(), message.payload.size()}, json_ ? "\"\\" : "");
    const std::string_view level = NameOf(message.level);
    const auto out = std::back_inserter(line);
    if (json_) {
      fmt::format_to(
          out, R"({{"time":"{}","level":"{}","program":"{}","message":"{}"}})",
          stamp, level, program_, text);
    } else {
      fmt::format_to(out, "{} {} {}: {}", stamp, program_, level, text);
    }
    line.push_back('\n');
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(program_, json_);
  }

 private:
  std::string program_;
  bool json_;
};

// The variable where it says something, else the setting, else the default;
// with the name of where it comes from.
struct Choice {
  std::string value;
  std::string source;
};

Choice Choose(const char* variable, const std::string& setting,
              std::string_view name, std::string_view fallback) {
  const char* value = std::getenv(variable);
  if (value != nullptr && *value != '\0') return {value, variable};
  return {setting.empty() ? std::string(fallback) : setting, std::string(name)};
}

absl::StatusOr<spdlog::level::level_enum> LevelOf(std::string_view level) {
  for (const auto& [name, known] : kLevels) {
    if (name == level) return known;
  }
  return InvalidArgument("\"{}\" is not trace, debug, info, warn or error",
                         level);
}

// Shared by all threads and libraries: their hooks can carry nothing.
class LibraryPace {
 public:
  // How many lines were kept back before this one; unset: it is, too.
  std::optional<size_t> Admit(std::chrono::steady_clock::time_point now) {
    const MutexLock lock(mutex_);
    if (limit_.TryTake(now)) return std::exchange(kept_back_, 0);
    ++kept_back_;
    return std::nullopt;
  }

 private:
  Mutex mutex_;
  RateLimit limit_ ABSL_GUARDED_BY(mutex_){2.0 / 60, 10};
  size_t kept_back_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

absl::Status CheckLogFormat(std::string_view format) {
  if (format == "text" || format == "json") return absl::OkStatus();
  return InvalidArgument("\"{}\" is not text or json", format);
}

absl::Status CheckLogLevel(std::string_view level) {
  return LevelOf(level).status();
}

absl::Status SetUpLogging(std::string_view program,
                          const LogSettings& settings) {
  const Choice format =
      Choose("LOG_FORMAT", settings.format, "log.format", "text");
  const Choice level = Choose("LOG_LEVEL", settings.level, "log.level", "info");
  RETURN_IF_ERROR(Annotate(CheckLogFormat(format.value), format.source));
  const auto known = LevelOf(level.value);
  RETURN_IF_ERROR(Annotate(known.status(), level.source));
  const std::string name(program);
  auto logger = std::make_shared<spdlog::logger>(
      name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(
      std::make_unique<LineFormatter>(name, format.value == "json"));
  logger->set_level(*known);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

void LogOfLibrary(std::string_view library, std::string_view text) {
  constexpr size_t kLongest = 300;
  static LibraryPace pace;
  const auto kept_back = pace.Admit(std::chrono::steady_clock::now());
  if (!kept_back) return;
  spdlog::warn("{}: {}{}", library, text.substr(0, kLongest),
               text.size() > kLongest ? "..." : "");
  if (*kept_back > 0) {
    spdlog::warn("{}: and {} lines before that are left out", library,
                 *kept_back);
  }
}

}  // namespace edged
