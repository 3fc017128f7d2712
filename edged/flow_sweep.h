#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "edged/core/conntrack_plan.h"

namespace edged::edge {

// Deletes stale flows soon after it is asked to: what is asked for meanwhile is
// looked for in one pass, which takes a fifth of the loop's time at most, and a
// pass that fails is tried again, and told once. Belongs to the loop thread.
class FlowSweep {
 public:
  // Deletes what the search finds, and returns the number of it.
  using Delete = std::function<absl::StatusOr<int>(const FlowSearch&)>;

  // `loop` outlives it.
  FlowSweep(EventLoop& loop, Delete remove)
      : loop_(loop), remove_(std::move(remove)) {}
  ~FlowSweep() { loop_.Cancel(timer_); }
  FlowSweep(const FlowSweep&) = delete;
  FlowSweep& operator=(const FlowSweep&) = delete;

  // An empty search asks for nothing.
  void Soon(const FlowSearch& search, EventLoop::Duration delay = {});

 private:
  using Time = std::chrono::steady_clock::time_point;

  void Sweep();

  EventLoop& loop_;
  const Delete remove_;
  FlowSearch search_;  // where flows may be stale, not looked at yet
  EventLoop::TimerId timer_ = 0;
  Time at_;              // when it rings
  Time after_;           // not before
  std::string trouble_;  // why the last pass failed; empty: it did not
};

}  // namespace edged::edge
