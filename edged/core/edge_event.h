#pragma once

#include <chrono>
#include <variant>

#include "common/drift/drift.h"

namespace edged::edge {

// One thing that happened on this edge, as WatchEvents tells it.
struct EdgeEvent {
  std::chrono::system_clock::time_point at;
  std::variant<Drift, Flood> what;
  bool operator==(const EdgeEvent&) const = default;
};

// Where a watcher's events go. Called on the loop thread; it never waits.
class EventStream {
 public:
  virtual ~EventStream() = default;
  virtual void Send(const EdgeEvent& event) = 0;
};

}  // namespace edged::edge
