#pragma once

#include <functional>
#include <memory>

#include "common/event_loop.h"

namespace edged::agent {

// A real event loop that a test runs until something has happened.
class LoopRunner {
 public:
  EventLoop& loop() { return *loop_; }

  // Runs until `done`, which is asked every millisecond; false after `most`.
  bool Until(const std::function<bool()>& done,
             EventLoop::Duration most = std::chrono::seconds(10)) {
    bool reached = false;
    const auto poll = loop_->Every(std::chrono::milliseconds(1), [&] {
      reached = done();
      if (reached) loop_->Stop();
    });
    const auto limit = loop_->After(most, [this] { loop_->Stop(); });
    loop_->Run();
    loop_->Cancel(poll);
    loop_->Cancel(limit);
    return reached;
  }

  void For(EventLoop::Duration time) {
    Until([] { return false; }, time);
  }

 private:
  std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
};

}  // namespace edged::agent
