#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "edged/core/edge_event.h"

namespace edged::edge {

// Hands events to whoever watches, and keeps the last hundred for those who ask
// later. Belongs to the loop thread.
class EventHub {
 public:
  static constexpr size_t kKept = 100;
  static constexpr size_t kMostStreams = 64;

  // `stream` first gets at most `recent` of the events before. It is borrowed
  // until Unwatch(). ResourceExhausted beyond kMostStreams.
  absl::Status Watch(EventStream& stream, size_t recent);
  void Unwatch(EventStream& stream);
  void Tell(const EdgeEvent& event);
  // At most `count` of the last ones, oldest first.
  std::vector<EdgeEvent> Recent(size_t count) const;

 private:
  std::deque<EdgeEvent> kept_;
  std::vector<EventStream*> streams_;
};

}  // namespace edged::edge
