#include "tests/fakes/virtual_loop.h"

#include "absl/status/status.h"

namespace edged {

void VirtualLoop::Advance(Duration time) {
  const Duration end = now_ + time;
  MakePostedCalls();
  while (!queue_.empty() && queue_.begin()->first <= end) {
    const auto [when, id] = *queue_.begin();
    queue_.erase(queue_.begin());
    now_ = when;
    Timer& timer = timers_.at(id);
    const auto call = timer.call;
    if (timer.interval == Duration::zero()) {
      timers_.erase(id);
    } else {
      timer.when = now_ + timer.interval;
      queue_.emplace(timer.when, id);
    }
    call();
    MakePostedCalls();
  }
  now_ = end;
}

std::optional<EventLoop::Duration> VirtualLoop::UntilNext() const {
  if (queue_.empty()) return std::nullopt;
  return queue_.begin()->first - now_;
}

absl::Status VirtualLoop::Watch(int, uint32_t, std::function<void(uint32_t)>) {
  return absl::UnimplementedError("a virtual loop has no descriptors");
}

absl::Status VirtualLoop::OnSignal(int, std::function<void()>) {
  return absl::UnimplementedError("a virtual loop has no signals");
}

EventLoop::TimerId VirtualLoop::After(Duration delay,
                                      std::function<void()> call) {
  const TimerId id = next_++;
  timers_[id] = {now_ + delay, Duration::zero(), std::move(call)};
  queue_.emplace(now_ + delay, id);
  return id;
}

EventLoop::TimerId VirtualLoop::Every(Duration interval,
                                      std::function<void()> call) {
  const TimerId id = After(interval, std::move(call));
  timers_[id].interval = interval;
  return id;
}

void VirtualLoop::Cancel(TimerId timer) {
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return;
  queue_.erase({found->second.when, timer});
  timers_.erase(found);
}

void VirtualLoop::Post(std::function<void()> call) {
  posted_.push_back(std::move(call));
}

void VirtualLoop::MakePostedCalls() {
  while (!posted_.empty()) {
    for (const auto& call : std::exchange(posted_, {})) call();
  }
}

}  // namespace edged
