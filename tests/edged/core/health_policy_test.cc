#include "edged/core/health_policy.h"

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;

// The policy with a clock of its own: 250 ms between heartbeats, 3 may miss.
class Watch {
 public:
  explicit Watch(bool grace = false) { policy.Update(model, now, grace); }

  // Ticks on time.
  void Pass(int ms) {
    while (ms > 0) {
      const int step = std::min(ms, 125);
      now += milliseconds(step);
      ms -= step;
      policy.Tick(now);
    }
  }
  // The process itself stands still.
  void Stall(int ms) {
    now += milliseconds(ms);
    policy.Tick(now);
  }
  void Hear(const std::string& uplink, bool ready = true,
            bool draining = false) {
    policy.OnHeartbeat(uplink, {.ready = ready, .draining = draining}, now);
  }
  std::string Of(const std::string& uplink) const {
    return std::string(ToString(HealthOf(policy.Evaluate(now), uplink)));
  }
  int DeadFor(const std::string& uplink) const {
    const auto dead = policy.DeadFor(uplink, now);
    return dead ? static_cast<int>(
                      std::chrono::duration_cast<milliseconds>(*dead).count())
                : -1;
  }

  EdgeModel model = ModelOf(SampleState());
  HealthPolicy policy;
  HealthPolicy::Time now{std::chrono::hours(1)};
};

TEST_CASE("health_policy: who was never heard is not alive",
          "[health_policy]") {
  Watch watch;
  CHECK(watch.Of("a") == "dead");
  CHECK(watch.DeadFor("a") == -1);
  watch.Hear("a");
  CHECK(watch.Of("a") == "alive");
  CHECK(watch.Of("b") == "dead");
  watch.Hear("stranger");
  CHECK(watch.policy.Evaluate(watch.now).size() == 3);
}

TEST_CASE(
    "health_policy: silence makes suspect after three missed, dead after "
    "nine",
    "[health_policy]") {
  Watch watch;
  watch.Hear("a");
  watch.Pass(750);
  CHECK(watch.Of("a") == "alive");
  watch.Pass(125);
  CHECK(watch.Of("a") == "suspect");
  watch.Pass(1375);
  CHECK(watch.Of("a") == "suspect");
  watch.Pass(125);
  CHECK(watch.Of("a") == "dead");
  CHECK(watch.DeadFor("a") == 125);
  watch.Pass(30000);
  CHECK(watch.DeadFor("a") == 30125);
  watch.Hear("a");
  CHECK(watch.Of("a") == "alive");
  CHECK(watch.DeadFor("a") == -1);
}

TEST_CASE("health_policy: fresh bytes are life, old ones are not",
          "[health_policy]") {
  Watch watch;
  watch.Hear("a");
  watch.policy.OnReceivedBytes("a", 1000, watch.now);
  watch.Pass(700);
  watch.policy.OnReceivedBytes("a", 1200, watch.now);
  watch.Pass(700);
  CHECK(watch.Of("a") == "alive");
  watch.policy.OnReceivedBytes("a", 1200, watch.now);
  watch.Pass(125);
  CHECK(watch.Of("a") == "suspect");
  watch.policy.OnReceivedBytes("a", 90, watch.now);  // a new peer's counter
  CHECK(watch.Of("a") == "suspect");
  watch.policy.OnReceivedBytes("a", 91, watch.now);
  CHECK(watch.Of("a") == "alive");

  watch.policy.OnReceivedBytes("b", 0, watch.now);
  watch.policy.OnReceivedBytes("b", 5000, watch.now);
  CHECK(watch.Of("b") == "dead");  // never said that it is ready
}

TEST_CASE("health_policy: our own stalls are not their silence",
          "[health_policy]") {
  Watch watch;
  watch.Hear("a");
  watch.Pass(250);
  watch.Stall(5000);
  CHECK(watch.Of("a") == "alive");
  watch.Pass(375);
  CHECK(watch.Of("a") == "alive");
  watch.Pass(125);
  CHECK(watch.Of("a") == "suspect");

  // Nobody has been heard in the future.
  watch.Hear("b");
  watch.Stall(100000);
  watch.Hear("b");
  watch.Pass(875);
  CHECK(watch.Of("b") == "suspect");
}

TEST_CASE("health_policy: ticks that are a little late do not add up",
          "[health_policy]") {
  Watch watch;
  watch.Hear("a");
  for (int i = 0; i < 4; ++i) watch.Stall(220);
  CHECK(watch.Of("a") == "suspect");
}

TEST_CASE("health_policy: draining keeps flows but is not patient",
          "[health_policy]") {
  Watch watch;
  watch.Hear("a", true, true);
  CHECK(watch.Of("a") == "draining");
  watch.Pass(750);
  CHECK(watch.Of("a") == "draining");
  watch.Pass(125);
  CHECK(watch.Of("a") == "dead");
  CHECK(watch.DeadFor("a") == 125);
  watch.Hear("b", false, true);
  CHECK(watch.Of("b") == "draining");
}

TEST_CASE("health_policy: who is not ready is out at once", "[health_policy]") {
  Watch watch;
  watch.Hear("a");
  watch.Hear("a", false);
  CHECK(watch.Of("a") == "dead");
  watch.Pass(500);
  watch.Hear("a", false);
  CHECK(watch.DeadFor("a") == 500);
  watch.Hear("a");
  CHECK(watch.Of("a") == "alive");
}

TEST_CASE("health_policy: after a restart known uplinks get one period",
          "[health_policy]") {
  Watch watch(true);
  CHECK(watch.Of("a") == "alive");
  watch.Pass(875);
  CHECK(watch.Of("a") == "suspect");
  watch.Pass(1500);
  CHECK(watch.Of("a") == "dead");
}

TEST_CASE("health_policy: an update keeps who stays and forgets who goes",
          "[health_policy]") {
  Watch watch;
  watch.Hear("a");
  watch.Hear("b");
  protocol::EdgeState state = SampleState();
  state.uplinks = {{"a", Key(1), 9}, {"b", Key(9), 2}, {"d", Key(4), 4}};
  for (auto& group : state.groups) group.uplinks = {"a"};
  state.settings.heartbeat_interval = milliseconds(1000);
  watch.policy.Update(ModelOf(state), watch.now);
  CHECK(watch.Of("a") == "alive");
  CHECK(watch.Of("b") == "dead");  // another key: another replica
  CHECK(watch.policy.Evaluate(watch.now).size() == 3);
  CHECK(watch.policy.tick_interval() == milliseconds(500));
  watch.now += milliseconds(2900);
  CHECK(watch.Of("a") == "alive");
}

TEST_CASE("health_policy: remembers the last heartbeat", "[health_policy]") {
  Watch watch;
  CHECK(watch.policy.LastHeartbeat("a") == nullptr);
  watch.policy.OnHeartbeat("a", {.sequence = 7, .ready = true}, watch.now);
  REQUIRE(watch.policy.LastHeartbeat("a") != nullptr);
  CHECK(watch.policy.LastHeartbeat("a")->sequence == 7);
}

TEST_CASE("health_policy: grace is extended until an uplink is heard",
          "[health_policy]") {
  Watch watch(/*grace=*/true);
  for (int i = 0; i < 10; ++i) {
    watch.Pass(2000);
    watch.policy.ExtendGrace(watch.now);
    CHECK(watch.Of("a") == "alive");
  }
  watch.Hear("a");
  CHECK(watch.policy.HasGrace());
  watch.Pass(2500);
  watch.policy.ExtendGrace(watch.now);
  CHECK(watch.Of("a") == "dead");
  CHECK(watch.Of("b") == "alive");
  watch.Hear("b");
  watch.Hear("c");
  CHECK_FALSE(watch.policy.HasGrace());
  CHECK_FALSE(Watch().policy.HasGrace());
}

}  // namespace
}  // namespace edged::edge
