#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/event_loop.h"
#include "common/mutex.h"

namespace edged::agent {

inline absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

// The way from gRPC's threads to the loop, and the count of the calls that gRPC
// still holds: a call may end later than its client and its loop. What a call
// leaves behind is never freed on a gRPC thread, because it may be the last to
// hold its channel, and gRPC 1.51 aborts when one of its threads frees that.
class GrpcDoor {
 public:
  explicit GrpcDoor(EventLoop& loop) : loop_(&loop) {}

  void Enter() {
    const MutexLock lock(mutex_);
    ++inside_;
  }
  void Post(std::function<void()> call) {
    const MutexLock lock(mutex_);
    if (loop_) loop_->Post(std::move(call));
  }
  // gRPC uses the call no more: `last` holds all that is left of it.
  void Leave(std::function<void()> last) {
    const MutexLock lock(mutex_);
    if (loop_) {
      loop_->Post(std::move(last));
    } else {
      left_behind_.push_back(std::move(last));
    }
    --inside_;
    left_.NotifyAll();
  }
  // Lets nothing through any more and waits until every call has left; they are
  // cancelled. False when gRPC did not let go.
  bool Close() {
    std::vector<std::function<void()>> left_behind;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    const MutexLock lock(mutex_);
    loop_ = nullptr;
    while (inside_ != 0 && left_.WaitUntil(mutex_, deadline)) {
    }
    left_behind.swap(left_behind_);
    return inside_ == 0;
  }
  bool is_open() {
    const MutexLock lock(mutex_);
    return loop_ != nullptr;
  }

 private:
  static constexpr std::chrono::seconds kPatience{5};

  Mutex mutex_;
  Condition left_;
  EventLoop* loop_ ABSL_GUARDED_BY(mutex_);
  int inside_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::function<void()>> left_behind_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace edged::agent
