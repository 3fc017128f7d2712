#pragma once

#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace edged::agent {

// Whether a stream's message, which gRPC's thread has read, waits for the loop
// to take it. The call's hold for reads stands until it is taken or, when the
// call is cancelled, given back by whoever hears so first. Thread-safe.
class WaitingMessage {
 public:
  // On gRPC's thread: one has come. False: the call is cancelled.
  bool Arrive() {
    const MutexLock lock(mutex_);
    waits_ = !cancelled_;
    return waits_;
  }
  // On the loop. False: the call was cancelled meanwhile.
  bool Take() {
    const MutexLock lock(mutex_);
    return std::exchange(waits_, false);
  }
  // On the loop: none is taken any more. Whether one was waiting.
  bool Cancel() {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    return std::exchange(waits_, false);
  }

 private:
  Mutex mutex_;
  bool waits_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace edged::agent
