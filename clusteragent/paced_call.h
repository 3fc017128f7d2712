#pragma once

#include <functional>

#include "common/event_loop.h"

namespace edged::agent {

// A call that others may ask for as often as they like: the first `burst` times
// it is made at once, and one more after every `pause`; what is asked meanwhile
// is one call. Belongs to the loop thread.
class PacedCall {
 public:
  // `loop` outlives it.
  PacedCall(EventLoop& loop, int burst, EventLoop::Duration pause,
            std::function<void()> call);
  PacedCall(const PacedCall&) = delete;
  ~PacedCall();

  void Ask();

 private:
  void Refill();

  EventLoop& loop_;
  const int burst_;
  const EventLoop::Duration pause_;
  const std::function<void()> call_;
  int made_ = 0;  // of the burst
  bool asked_ = false;
  EventLoop::TimerId timer_ = 0;  // runs while made_ > 0
};

}  // namespace edged::agent
