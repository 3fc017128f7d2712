#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/event_loop.h"
#include "common/mutex.h"

namespace edged {

// Writes to a disk, which may be slow, for a loop that must not wait: on a
// thread of its own, one writing after the other. What is handed over while
// one is under way replaces the one that waits, so the newest is always
// written, and last. Its methods belong to the loop thread.
class BackgroundWriter {
 public:
  // What is written must be the job's own; it runs on another thread.
  using Job = std::function<absl::Status()>;
  using Done = std::function<void(const absl::Status&)>;

  // `loop` outlives the writer.
  explicit BackgroundWriter(EventLoop& loop) : loop_(loop) {}
  BackgroundWriter(const BackgroundWriter&) = delete;
  // Waits until what was handed over is written.
  ~BackgroundWriter();

  // `done` hears on the loop thread how it ended, unless it was replaced or
  // the writer is gone by then.
  void Write(Job job, Done done);
  // In the place of what waits, and returns when it is done: for what must be
  // on the disk before something is told. The loop waits meanwhile.
  absl::Status WriteNow(const Job& job);
  // Drops what waits; what is under way has ended when it returns.
  void Discard();

 private:
  struct Task {
    Job job;
    Done done;
  };

  void Work();
  std::optional<Task> Take();

  EventLoop& loop_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Mutex mutex_;
  Condition changed_;
  std::optional<Task> waiting_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // begins with the first job
};

}  // namespace edged
