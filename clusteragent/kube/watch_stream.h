#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The body of a watch: one JSON object a line, in pieces of any length.

namespace edged::kube {

enum class WatchEventType { kAdded, kModified, kDeleted, kBookmark, kError };

struct WatchEvent {
  WatchEventType type = WatchEventType::kBookmark;
  nlohmann::json object;         // of an error: a Status
  std::string resource_version;  // of the object; may be empty
};

// InvalidArgument for a line that is none. A type that we do not know reads as
// kBookmark: whoever sends it may not mean us, but its version holds.
absl::StatusOr<WatchEvent> ParseWatchEvent(std::string_view line);

// Puts pieces together to lines.
class LineReader {
 public:
  explicit LineReader(size_t longest) : longest_(longest) {}

  // Calls `take` with every line that is complete, without its end, empty ones
  // left out, until one is not OK; that is returned. ResourceExhausted for a
  // line of more than the longest. After an error: Clear().
  absl::Status Feed(std::string_view piece,
                    const std::function<absl::Status(std::string_view)>& take);
  // Forgets what has begun.
  void Clear() { begun_.clear(); }

 private:
  size_t longest_;
  std::string begun_;
};

}  // namespace edged::kube
