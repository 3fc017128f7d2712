#pragma once

#include <chrono>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace edged::edge {

// Counts the calls of each connection: an agent makes a few an hour. gRPC 1.51
// takes streams in faster than it can end them, 7 KB for each, so whoever opens
// them without end must be hung up on. Thread-safe.
class CallMeter {
 public:
  static constexpr int kMostInWindow = 100;
  static constexpr auto kWindow = std::chrono::seconds(1);

  // Whether this call of `peer` is the first one too many.
  bool IsTooMany(const std::string& peer,
                 std::chrono::steady_clock::time_point now) {
    const MutexLock lock(mutex_);
    if (now - begin_ > kWindow) {
      begin_ = now;
      calls_.clear();
    }
    return ++calls_[peer] == kMostInWindow + 1;
  }

 private:
  Mutex mutex_;
  std::chrono::steady_clock::time_point begin_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> calls_ ABSL_GUARDED_BY(mutex_);  // since then
};

}  // namespace edged::edge
