#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <variant>

#include "edged/core/edge_event.h"

namespace edged::edge {

// So many events did not find room.
struct LostEvents {
  uint64_t count = 0;
  bool operator==(const LostEvents&) const = default;
};

// What waits for one watcher: of a slow one the newest events are lost, and in
// their place stands how many.
class EventQueue {
 public:
  using Entry = std::variant<EdgeEvent, LostEvents>;

  explicit EventQueue(size_t limit) : limit_(limit) {}

  void Push(const EdgeEvent& event);
  std::optional<Entry> Pop();

 private:
  const size_t limit_;
  size_t events_ = 0;
  std::deque<Entry> entries_;
};

}  // namespace edged::edge
