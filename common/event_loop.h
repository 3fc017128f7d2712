#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace edged {

// The one thread that owns a process's mutable state: descriptors, timers,
// signals, and functions that other threads hand over. Every method but Post()
// and Stop() belongs to the loop thread.
class EventLoop {
 public:
  using Duration = std::chrono::steady_clock::duration;
  using TimerId = uint64_t;  // never 0

  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  virtual ~EventLoop() = default;

  // Calls `ready` with the epoll events whenever `fd` has one of `events`
  // (EPOLLIN, ...). The caller keeps the descriptor open until Unwatch();
  // AlreadyExists when it is watched. A call may unwatch any descriptor, cancel
  // any timer, its own too, and watch anew.
  virtual absl::Status Watch(int fd, uint32_t events,
                             std::function<void(uint32_t)> ready) = 0;
  virtual void Unwatch(int fd) = 0;

  virtual TimerId After(Duration delay, std::function<void()> call) = 0;
  // First after one interval, of 1 ms at least; a late call is not made up for.
  virtual TimerId Every(Duration interval, std::function<void()> call) = 0;
  virtual void Cancel(TimerId timer) = 0;  // 0 and unknown ones are fine

  // `signal` is blocked in this thread and in those that it starts later, and
  // delivered as a call.
  virtual absl::Status OnSignal(int signal, std::function<void()> call) = 0;

  // Thread-safe. Calls run in order, on the loop thread, which looks after
  // descriptors and timers in between.
  virtual void Post(std::function<void()> call) = 0;

  // Runs until Stop(). Calls posted before Stop() are still made; what is left
  // when the loop is destroyed is dropped.
  virtual void Run() = 0;
  virtual void Stop() = 0;  // thread-safe
};

}  // namespace edged
