#include "clusteragent/kube/watch_stream.h"

#include "clusteragent/kube/json_reading.h"
#include "common/status.h"
#include "common/utf8.h"

namespace edged::kube {
namespace {

constexpr size_t kShown = 80;

}  // namespace

absl::StatusOr<WatchEvent> ParseWatchEvent(std::string_view line) {
  nlohmann::json value = ParseJson(line);
  const std::string type = Text(Field(value, "type"));
  if (type.empty() || !Field(value, "object").is_object()) {
    return InvalidArgument("\"{}\" is not an event of a watch",
                           Escaped(line.substr(0, kShown)));
  }
  WatchEvent event{.object = std::move(value["object"])};
  event.resource_version =
      Text(Field(event.object, "metadata", "resourceVersion"));
  if (type == "ADDED") event.type = WatchEventType::kAdded;
  if (type == "MODIFIED") event.type = WatchEventType::kModified;
  if (type == "DELETED") event.type = WatchEventType::kDeleted;
  if (type == "ERROR") event.type = WatchEventType::kError;
  return event;
}

absl::Status LineReader::Feed(
    std::string_view piece,
    const std::function<absl::Status(std::string_view)>& take) {
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    if (part.size() > longest_ - begun_.size()) {
      return absl::ResourceExhaustedError(
          fmt::format("a line is longer than {} bytes", longest_));
    }
    if (end == std::string_view::npos) {
      begun_ += part;
      return absl::OkStatus();
    }
    piece.remove_prefix(end + 1);
    absl::Status taken;
    if (begun_.empty()) {
      if (!part.empty()) taken = take(part);
    } else {
      const std::string line = std::exchange(begun_, {}) + std::string(part);
      taken = take(line);
    }
    RETURN_IF_ERROR(taken);
  }
  return absl::OkStatus();
}

}  // namespace edged::kube
