#include "edged/flow_sweep.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kAgain = std::chrono::seconds(1);  // after a failure
constexpr int kFactor = 4;  // the pause after a pass, in its own length

}  // namespace

void FlowSweep::Soon(const FlowSearch& search, EventLoop::Duration delay) {
  search_.Add(search);
  if (search_.empty()) return;
  const auto now = SteadyClock::now();
  const auto at = std::max<Time>(now + delay, after_);
  if (timer_ != 0 && at_ <= at) return;
  loop_.Cancel(timer_);
  at_ = at;
  timer_ = loop_.After(std::max<SteadyClock::duration>(at - now, {}),
                       [this] { Sweep(); });
}

void FlowSweep::Sweep() {
  timer_ = 0;
  const FlowSearch search = std::exchange(search_, FlowSearch());
  const auto start = SteadyClock::now();
  const auto deleted = remove_(search);
  const auto end = SteadyClock::now();
  after_ = end + kFactor * (end - start);
  std::string trouble(Message(deleted.status()));
  if (trouble != trouble_) {
    if (deleted.ok()) {
      spdlog::info("stale flows: they are looked for again");
    } else {
      spdlog::warn("stale flows: {}; trying again", trouble);
    }
  }
  trouble_ = std::move(trouble);
  if (!deleted.ok()) {
    Soon(search, kAgain);
  } else if (*deleted > 0) {
    spdlog::info("stale flows: {} deleted, {} ms", *deleted,
                 std::chrono::duration_cast<milliseconds>(end - start).count());
  }
}

}  // namespace edged::edge
