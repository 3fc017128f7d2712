#include "edged/core/event_queue.h"

#include <utility>

namespace edged::edge {

void EventQueue::Push(const EdgeEvent& event) {
  if (events_ < limit_) {
    entries_.emplace_back(event);
    ++events_;
    return;
  }
  LostEvents* lost =
      entries_.empty() ? nullptr : std::get_if<LostEvents>(&entries_.back());
  if (!lost) lost = &std::get<LostEvents>(entries_.emplace_back(LostEvents()));
  ++lost->count;
}

std::optional<EventQueue::Entry> EventQueue::Pop() {
  if (entries_.empty()) return std::nullopt;
  Entry entry = std::move(entries_.front());
  entries_.pop_front();
  if (std::holds_alternative<EdgeEvent>(entry)) --events_;
  return entry;
}

}  // namespace edged::edge
