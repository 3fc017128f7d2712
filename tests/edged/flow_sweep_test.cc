#include "edged/flow_sweep.h"

#include <catch2/catch.hpp>
#include <thread>

#include "tests/common/captured_log.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A loop that runs for a while, and the passes that were made meanwhile.
struct Sweeping {
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  std::vector<steady_clock::time_point> passes;
  absl::StatusOr<int> answer = 1;
  milliseconds takes{0};
  FlowSweep sweep{*loop, [this](const FlowSearch& search) {
                    CHECK(!search.empty());
                    passes.push_back(steady_clock::now());
                    std::this_thread::sleep_for(takes);
                    return answer;
                  }};

  void RunFor(milliseconds time) {
    loop->After(time, [this] { loop->Stop(); });
    loop->Run();
  }
};

TEST_CASE("flow_sweep: what is asked for at once is one pass", "[flow_sweep]") {
  Sweeping flows;
  flows.sweep.Soon(FlowSearch());
  flows.RunFor(milliseconds(20));
  CHECK(flows.passes.empty());
  flows.sweep.Soon(FlowSearch::Everywhere(), milliseconds(500));
  flows.sweep.Soon(FlowSearch::Unserving());
  flows.RunFor(milliseconds(50));
  CHECK(flows.passes.size() == 1);
}

TEST_CASE("flow_sweep: takes a fifth of the time", "[flow_sweep]") {
  Sweeping flows;
  flows.takes = milliseconds(20);
  flows.sweep.Soon(FlowSearch::Everywhere());
  flows.RunFor(milliseconds(30));
  flows.sweep.Soon(FlowSearch::Everywhere());
  flows.RunFor(milliseconds(150));
  REQUIRE(flows.passes.size() == 2);
  CHECK(flows.passes[1] - flows.passes[0] >= milliseconds(100));
}

TEST_CASE("flow_sweep: a pass that fails is made again", "[flow_sweep]") {
  Sweeping flows;
  flows.answer = absl::UnavailableError("busy");
  flows.sweep.Soon(FlowSearch::Everywhere());
  flows.RunFor(milliseconds(100));
  CHECK(flows.passes.size() == 1);
  flows.answer = 0;
  flows.RunFor(milliseconds(1'200));
  CHECK(flows.passes.size() == 2);
}

TEST_CASE("flow_sweep: a failure that lasts is told once, and its end",
          "[flow_sweep]") {
  VirtualLoop loop;
  CapturedLog log;
  absl::StatusOr<int> answer = absl::UnavailableError("busy");
  int passes = 0;
  FlowSweep sweep(loop, [&](const FlowSearch&) {
    ++passes;
    return answer;
  });
  sweep.Soon(FlowSearch::Everywhere());
  loop.Advance(std::chrono::minutes(1));
  CHECK(passes > 50);
  CHECK(log.Take() == "warning: stale flows: busy; trying again\n");
  answer = absl::UnavailableError("no memory");
  loop.Advance(std::chrono::minutes(1));
  CHECK(log.Take() == "warning: stale flows: no memory; trying again\n");
  answer = 0;
  loop.Advance(std::chrono::minutes(1));
  CHECK(log.Take() == "info: stale flows: they are looked for again\n");
  sweep.Soon(FlowSearch::Everywhere());
  loop.Advance(std::chrono::minutes(1));
  CHECK(log.Take() == "");
}

}  // namespace
}  // namespace edged::edge
