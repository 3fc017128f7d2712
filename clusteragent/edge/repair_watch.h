#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "clusteragent/core/repair_news.h"
#include "clusteragent/edge/edge_client.h"
#include "common/backoff.h"
#include "common/event_loop.h"

namespace edged::agent {

// Hears what others do to one edge, and tells of it what a person should know.
// Opens its stream anew when it ends. Belongs to the loop thread.
class RepairWatch final : public EventListener {
 public:
  // Borrows the loop and the client.
  RepairWatch(EventLoop& loop, EdgeClient& client,
              std::function<void(const Happening&)> tell);
  ~RepairWatch() override;

  void OnEvent(const EdgeEvent& event) override;
  void OnEventsEnd(const absl::Status& status) override;

 private:
  void Open(uint32_t recent);
  void TellDue();

  EventLoop& loop_;
  EdgeClient& client_;
  const std::function<void(const Happening&)> tell_;
  RepairNews news_;
  // Of the last event: what comes once more after a break is old.
  std::chrono::system_clock::time_point last_;
  uint32_t replayed_ = 0;  // events to come that may be told already
  std::unique_ptr<EventStream> stream_;
  Backoff backoff_;
  EventLoop::TimerId open_ = 0;
  EventLoop::TimerId due_ = 0;
};

}  // namespace edged::agent
