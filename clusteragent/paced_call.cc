#include "clusteragent/paced_call.h"

#include <utility>

namespace edged::agent {

PacedCall::PacedCall(EventLoop& loop, int burst, EventLoop::Duration pause,
                     std::function<void()> call)
    : loop_(loop), burst_(burst), pause_(pause), call_(std::move(call)) {}

PacedCall::~PacedCall() { loop_.Cancel(timer_); }

void PacedCall::Ask() {
  if (made_ == burst_) {
    asked_ = true;
    return;
  }
  ++made_;
  if (timer_ == 0) timer_ = loop_.After(pause_, [this] { Refill(); });
  call_();
}

void PacedCall::Refill() {
  --made_;
  timer_ = made_ > 0 ? loop_.After(pause_, [this] { Refill(); }) : 0;
  if (std::exchange(asked_, false)) Ask();
}

}  // namespace edged::agent
