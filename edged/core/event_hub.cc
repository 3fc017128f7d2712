#include "edged/core/event_hub.h"

#include <fmt/format.h>

#include <algorithm>

namespace edged::edge {

absl::Status EventHub::Watch(EventStream& stream, size_t recent) {
  if (streams_.size() == kMostStreams) {
    return absl::ResourceExhaustedError(
        fmt::format("{} watch already", kMostStreams));
  }
  for (const EdgeEvent& event : Recent(recent)) stream.Send(event);
  streams_.push_back(&stream);
  return absl::OkStatus();
}

std::vector<EdgeEvent> EventHub::Recent(size_t count) const {
  const auto begin = kept_.end() - std::min(count, kept_.size());
  return {begin, kept_.end()};
}

void EventHub::Unwatch(EventStream& stream) { std::erase(streams_, &stream); }

void EventHub::Tell(const EdgeEvent& event) {
  if (kept_.size() == kKept) kept_.pop_front();
  kept_.push_back(event);
  for (EventStream* stream : streams_) stream->Send(event);
}

}  // namespace edged::edge
