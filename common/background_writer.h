#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "common/event_loop.h"

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

  EventLoop& loop_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Task> waiting_;  // under mutex_
  bool busy_ = false;            // under mutex_
  bool stopping_ = false;        // under mutex_
  std::thread thread_;           // begins with the first job
};

}  // namespace edged
