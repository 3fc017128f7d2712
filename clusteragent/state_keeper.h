#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "common/event_loop.h"

namespace edged::agent {

// Saves the parts of the agent's state. What the disk refuses is tried again
// until it does not; meanwhile the agent goes on with what it has in memory,
// and the log says StateNotDurable. Belongs to the loop thread.
class StateKeeper {
 public:
  // `loop` outlives it.
  explicit StateKeeper(EventLoop& loop) : loop_(loop) {}
  ~StateKeeper();

  // Calls `save` now, and again later while it fails, unless the part is kept
  // anew.
  void Keep(const std::string& part, std::function<absl::Status()> save);
  // The same, after a first try with the outcome `saved`.
  void Keep(const std::string& part, const absl::Status& saved,
            std::function<absl::Status()> again);
  // Only the word of it: `part` is somebody else's to save again, on another
  // thread, maybe.
  void Hear(const std::string& part, const absl::Status& saved) {
    Keep(part, saved, nullptr);
  }
  bool IsDurable(const std::string& part) const {
    return !refused_.contains(part);
  }

 private:
  void Note(const std::string& part, const absl::Status& saved,
            std::function<absl::Status()> again);
  void TryAgain();
  void Tell();

  EventLoop& loop_;
  struct Refused {
    std::function<absl::Status()> save;  // null: somebody else's
    std::string why;
  };
  std::map<std::string, Refused> refused_;
  std::string told_;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace edged::agent
