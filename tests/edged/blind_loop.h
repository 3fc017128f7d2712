#pragma once

#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/event_loop.h"

namespace edged::edge {

// The real loop, but it never tells of the kernel's events, and minutes pass
// when the test says so.
class BlindLoop final : public EventLoop {
 public:
  explicit BlindLoop(std::unique_ptr<EventLoop> loop)
      : loop_(std::move(loop)) {}

  void LetMinutesPass() {
    for (const auto& call : calls_) call();
  }

  absl::Status Watch(int fd, uint32_t events,
                     std::function<void(uint32_t)> ready) override {
    int domain = 0;
    socklen_t size = sizeof(domain);
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    if (domain == AF_NETLINK) return absl::OkStatus();
    return loop_->Watch(fd, events, std::move(ready));
  }
  void Unwatch(int fd) override { loop_->Unwatch(fd); }
  TimerId After(Duration delay, std::function<void()> call) override {
    return loop_->After(delay, std::move(call));
  }
  TimerId Every(Duration interval, std::function<void()> call) override {
    if (interval < std::chrono::minutes(1)) {
      return loop_->Every(interval, std::move(call));
    }
    calls_.push_back(std::move(call));
    return 0;
  }
  void Cancel(TimerId timer) override { loop_->Cancel(timer); }
  absl::Status OnSignal(int signal, std::function<void()> call) override {
    return loop_->OnSignal(signal, std::move(call));
  }
  void Post(std::function<void()> call) override {
    loop_->Post(std::move(call));
  }
  void Run() override { loop_->Run(); }
  void Stop() override { loop_->Stop(); }

 private:
  std::unique_ptr<EventLoop> loop_;
  std::vector<std::function<void()>> calls_;
};

}  // namespace edged::edge
