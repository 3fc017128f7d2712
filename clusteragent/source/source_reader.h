#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "clusteragent/source/source.h"
#include "common/event_loop.h"
#include "common/mutex.h"

namespace edged::agent {

// Reads a source on a thread of its own: large manifests take seconds, and
// heartbeats must not wait for them. Its other methods belong to the loop
// thread.
class SourceReader {
 public:
  // Hands every snapshot to `take` on the loop thread. `loop` and `source`
  // outlive the reader; nobody else reads the source meanwhile.
  SourceReader(EventLoop& loop, Source& source,
               std::function<void(Snapshot)> take);
  // Waits for a read that is under way.
  ~SourceReader();

  // What was there when this was called, or later, is taken soon.
  void ReadSoon();

 private:
  void Work();
  bool AwaitWish();

  EventLoop& loop_;
  Source& source_;
  // Empty when the reader is gone; the loop thread's.
  const std::shared_ptr<std::function<void(Snapshot)>> take_;
  Mutex mutex_;
  edged::Condition wake_;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace edged::agent
