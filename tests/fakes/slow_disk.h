#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/status/status.h"

namespace edged {

// A disk that a test can make wait and fail. Thread-safe.
class SlowDisk {
 public:
  // Whoever writes asks first; returns when the disk is free.
  absl::Status Access() {
    std::unique_lock lock(mutex_);
    ++accesses_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (std::exchange(fails_, false)) {
      return absl::ResourceExhaustedError("No space left on device");
    }
    return absl::OkStatus();
  }

  void FailNext() {
    const std::lock_guard lock(mutex_);
    fails_ = true;
  }
  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
    accesses_ = 0;
  }
  // Until somebody has asked since Hold().
  void AwaitAccess() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return accesses_ > 0; });
  }
  void Release() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    changed_.notify_all();
  }
  void ReleaseAfter(std::chrono::milliseconds time) {
    releaser_ = std::jthread([this, time] {
      std::this_thread::sleep_for(time);
      Release();
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool fails_ = false;
  int accesses_ = 0;
  std::jthread releaser_;
};

}  // namespace edged
