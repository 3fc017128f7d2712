#include "common/event_loop.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace edged {
namespace {

using Clock = std::chrono::steady_clock;

constexpr EventLoop::Duration kShortestInterval = std::chrono::milliseconds(1);
// So that other threads, however much they post, do not keep the loop from
// descriptors and timers.
constexpr EventLoop::Duration kPostedShare = std::chrono::milliseconds(5);

class EpollLoop : public EventLoop {
 public:
  absl::Status Open();

  absl::Status Watch(int fd, uint32_t events,
                     std::function<void(uint32_t)> ready) override;
  void Unwatch(int fd) override;
  TimerId After(Duration delay, std::function<void()> call) override;
  TimerId Every(Duration interval, std::function<void()> call) override;
  void Cancel(TimerId timer) override;
  absl::Status OnSignal(int signal, std::function<void()> call) override;
  void Post(std::function<void()> call) override;
  void Run() override;
  void Stop() override;

 private:
  // Calls are shared so that one may remove itself while it runs.
  struct Watched {
    int fd;
    std::shared_ptr<std::function<void(uint32_t)>> ready;
  };
  struct Timer {
    Clock::time_point when;
    Duration interval;  // zero: once
    std::shared_ptr<std::function<void()>> call;
  };

  TimerId AddTimer(Duration delay, Duration interval,
                   std::function<void()> call);
  void ArmTimer();
  void MakePostedCalls();
  void MakeDueCalls();
  void MakeSignalCalls();
  void Dispatch(const epoll_event& event);

  UniqueFd epoll_;
  UniqueFd wake_;     // eventfd: something was posted
  UniqueFd timer_;    // timerfd: the first of queue_ is due
  UniqueFd signals_;  // signalfd

  // Events carry a number that is never used again, so that one that is still
  // in hand when its descriptor is closed and reopened reaches nobody.
  uint64_t next_watch_ = 1;
  absl::flat_hash_map<uint64_t, Watched> watched_;
  absl::flat_hash_map<int, uint64_t> watch_of_fd_;

  TimerId next_timer_ = 1;
  absl::flat_hash_map<TimerId, Timer> timers_;
  std::set<std::pair<Clock::time_point, TimerId>> queue_;
  Clock::time_point armed_ = Clock::time_point::max();

  sigset_t signal_set_{};
  std::map<int, std::function<void()>> signal_calls_;

  bool stopping_ = false;
  std::deque<std::function<void()>> due_;  // posted, in order

  Mutex mutex_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
};

absl::Status EpollLoop::Open() {
  sigemptyset(&signal_set_);
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return ErrnoStatus(errno, "epoll_create1");
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return ErrnoStatus(errno, "eventfd");
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return ErrnoStatus(errno, "timerfd_create");
  signals_.reset(signalfd(-1, &signal_set_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return ErrnoStatus(errno, "signalfd");

  RETURN_IF_ERROR(
      Watch(wake_.get(), EPOLLIN, [this](uint32_t) { MakePostedCalls(); }));
  RETURN_IF_ERROR(
      Watch(timer_.get(), EPOLLIN, [this](uint32_t) { MakeDueCalls(); }));
  return Watch(signals_.get(), EPOLLIN,
               [this](uint32_t) { MakeSignalCalls(); });
}

absl::Status EpollLoop::Watch(int fd, uint32_t events,
                              std::function<void(uint32_t)> ready) {
  if (watch_of_fd_.contains(fd)) {
    return absl::AlreadyExistsError(
        fmt::format("descriptor {} is watched already", fd));
  }
  epoll_event event{.events = events, .data = {.u64 = next_watch_}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return ErrnoStatus(errno, fmt::format("epoll_ctl: descriptor {}", fd));
  }
  watch_of_fd_[fd] = next_watch_;
  watched_[next_watch_] = {
      fd, std::make_shared<std::function<void(uint32_t)>>(std::move(ready))};
  ++next_watch_;
  return absl::OkStatus();
}

void EpollLoop::Unwatch(int fd) {
  const auto found = watch_of_fd_.find(fd);
  if (found == watch_of_fd_.end()) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(found->second);
  watch_of_fd_.erase(found);
}

EventLoop::TimerId EpollLoop::After(Duration delay,
                                    std::function<void()> call) {
  return AddTimer(delay, Duration::zero(), std::move(call));
}

EventLoop::TimerId EpollLoop::Every(Duration interval,
                                    std::function<void()> call) {
  interval = std::max(interval, kShortestInterval);
  return AddTimer(interval, interval, std::move(call));
}

EventLoop::TimerId EpollLoop::AddTimer(Duration delay, Duration interval,
                                       std::function<void()> call) {
  const TimerId id = next_timer_++;
  const auto when = Clock::now() + std::max(delay, Duration::zero());
  timers_[id] = {when, interval,
                 std::make_shared<std::function<void()>>(std::move(call))};
  queue_.emplace(when, id);
  return id;
}

void EpollLoop::Cancel(TimerId timer) {
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return;
  queue_.erase({found->second.when, timer});
  timers_.erase(found);
}

absl::Status EpollLoop::OnSignal(int signal, std::function<void()> call) {
  if (sigaddset(&signal_set_, signal) != 0) {
    return ErrnoStatus(errno, fmt::format("signal {}", signal));
  }
  if (const int error = pthread_sigmask(SIG_BLOCK, &signal_set_, nullptr)) {
    return ErrnoStatus(error, "pthread_sigmask");
  }
  if (signalfd(signals_.get(), &signal_set_, 0) < 0) {
    return ErrnoStatus(errno, "signalfd");
  }
  signal_calls_[signal] = std::move(call);
  return absl::OkStatus();
}

void EpollLoop::Post(std::function<void()> call) {
  {
    const MutexLock lock(mutex_);
    posted_.push_back(std::move(call));
  }
  // It fails only when the counter is full, and then the loop wakes anyway.
  eventfd_write(wake_.get(), 1);
}

void EpollLoop::Stop() {
  Post([this] { stopping_ = true; });
}

void EpollLoop::Run() {
  stopping_ = false;
  std::array<epoll_event, 64> events;
  while (!stopping_) {
    ArmTimer();
    const int count = epoll_wait(epoll_.get(), events.data(),
                                 static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) {
      spdlog::critical("event loop: epoll_wait: {}", std::strerror(errno));
      return;
    }
    for (int i = 0; i < count; ++i) Dispatch(events[static_cast<size_t>(i)]);
  }
}

void EpollLoop::Dispatch(const epoll_event& event) {
  const uint64_t key = event.data.u64;  // the kernel's structure is packed
  const auto found = watched_.find(key);
  if (found == watched_.end()) return;  // unwatched by a call before it
  const auto ready = found->second.ready;
  (*ready)(event.events);
}

void EpollLoop::ArmTimer() {
  const auto first =
      queue_.empty() ? Clock::time_point::max() : queue_.begin()->first;
  if (first == armed_) return;
  armed_ = first;
  itimerspec spec{};  // zero: disarmed
  if (first != Clock::time_point::max()) {
    // libstdc++'s steady clock is CLOCK_MONOTONIC. A time of zero would disarm.
    const auto since = std::max<std::chrono::nanoseconds>(
        first.time_since_epoch(), std::chrono::nanoseconds(1));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    spec.it_value.tv_sec = seconds.count();
    spec.it_value.tv_nsec = (since - seconds).count();
  }
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0) {
    spdlog::critical("event loop: timerfd_settime: {}", std::strerror(errno));
  }
}

void EpollLoop::MakeDueCalls() {
  uint64_t expirations = 0;
  if (read(timer_.get(), &expirations, sizeof expirations) < 0) return;
  armed_ = Clock::time_point::max();
  const auto now = Clock::now();
  while (!queue_.empty() && queue_.begin()->first <= now) {
    const TimerId id = queue_.begin()->second;
    queue_.erase(queue_.begin());
    Timer& timer = timers_.at(id);
    const auto call = timer.call;
    if (timer.interval == Duration::zero()) {
      timers_.erase(id);
    } else {
      timer.when += timer.interval;
      if (timer.when <= now) timer.when = now + timer.interval;
      queue_.emplace(timer.when, id);
    }
    (*call)();
  }
}

void EpollLoop::MakePostedCalls() {
  eventfd_t count = 0;
  eventfd_read(wake_.get(), &count);
  {
    const MutexLock lock(mutex_);
    std::ranges::move(posted_, std::back_inserter(due_));
    posted_.clear();
  }
  const auto end = Clock::now() + kPostedShare;
  while (!due_.empty()) {
    const auto call = std::move(due_.front());
    due_.pop_front();
    call();
    if (Clock::now() >= end && !due_.empty()) {
      eventfd_write(wake_.get(), 1);
      return;
    }
  }
}

void EpollLoop::MakeSignalCalls() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) ==
         static_cast<ssize_t>(sizeof info)) {
    const auto found = signal_calls_.find(static_cast<int>(info.ssi_signo));
    if (found == signal_calls_.end()) continue;
    const auto call = found->second;  // it may set another
    call();
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  auto loop = std::make_unique<EpollLoop>();
  RETURN_IF_ERROR(loop->Open());
  return loop;
}

}  // namespace edged
