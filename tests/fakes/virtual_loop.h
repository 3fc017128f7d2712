#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/event_loop.h"

namespace edged {

// An event loop whose time stands still until a test moves it: timers and
// posted calls, no descriptors and no signals. It belongs to the test's thread.
class VirtualLoop final : public EventLoop {
 public:
  // Makes the posted calls, then lets `time` pass with everything that is due.
  void Advance(Duration time);
  // How far its time has been moved.
  Duration now() const { return now_; }
  // How long until the first timer; nothing when there is none.
  std::optional<Duration> UntilNext() const;
  size_t timers() const { return timers_.size(); }

  absl::Status Watch(int fd, uint32_t events,
                     std::function<void(uint32_t)> ready) override;
  void Unwatch(int) override {}
  TimerId After(Duration delay, std::function<void()> call) override;
  TimerId Every(Duration interval, std::function<void()> call) override;
  void Cancel(TimerId timer) override;
  absl::Status OnSignal(int signal, std::function<void()> call) override;
  void Post(std::function<void()> call) override;
  void Run() override { Advance(Duration::zero()); }
  void Stop() override {}

 private:
  struct Timer {
    Duration when;
    Duration interval;  // zero: once
    std::function<void()> call;
  };

  void MakePostedCalls();

  Duration now_{};
  TimerId next_ = 1;
  std::map<TimerId, Timer> timers_;
  std::set<std::pair<Duration, TimerId>> queue_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace edged
