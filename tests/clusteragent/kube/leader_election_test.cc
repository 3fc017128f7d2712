#include "clusteragent/kube/leader_election.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

namespace edged::kube {
namespace {

using std::chrono::seconds;

LeaderElection::TimePoint At(double time) {
  return LeaderElection::TimePoint(
      std::chrono::milliseconds(static_cast<int64_t>(time * 1000)));
}

// Replicas, and the lease that they share.
struct Election {
  LeaderElection a{"a", {}};
  LeaderElection b{"b", {}};
  std::optional<LeaseRecord> lease;
  int writes = 0;

  // One look of `who`, and what it writes: "a takes 1", "b waits".
  std::string Look(LeaderElection& who, double time) {
    const std::string name = &who == &a ? "a" : "b";
    const std::string before = lease ? lease->holder : "";
    auto record = who.Observe(At(time), lease);
    if (!record) return name + " waits";
    record->renewed = std::to_string(++writes);
    lease = record;
    who.Written(At(time), *record);
    return fmt::format("{} {} {}", name, before == name ? "renews" : "takes",
                       record->transitions);
  }
  std::string Leaders(double time) const {
    std::string text;
    if (const auto term = a.Term(At(time))) text += fmt::format("a{}", *term);
    if (const auto term = b.Term(At(time))) text += fmt::format("b{}", *term);
    return text;
  }
};

TEST_CASE("leader_election: one leads and renews, the other waits",
          "[leader_election]") {
  Election election;
  CHECK(election.Look(election.a, 0) == "a takes 1");
  CHECK(election.Look(election.b, 1) == "b waits");
  CHECK(election.Look(election.a, 2) == "a renews 1");
  CHECK(election.Look(election.b, 16) == "b waits");
  CHECK(election.Leaders(2) == "a1");
}

TEST_CASE("leader_election: who does not renew stops before another begins",
          "[leader_election]") {
  Election election;
  election.Look(election.a, 0);
  CHECK(election.Look(election.b, 0.1) == "b waits");
  CHECK(election.Leaders(9.9) == "a1");
  CHECK(election.Leaders(10) == "");
  CHECK(election.Look(election.b, 15) == "b waits");
  CHECK(election.Look(election.b, 15.1) == "b takes 2");
  CHECK(election.Leaders(15.1) == "b2");
  // The former one sees it.
  CHECK(election.Look(election.a, 16) == "a waits");
}

TEST_CASE("leader_election: another's clock means nothing",
          "[leader_election]") {
  Election election;
  election.lease = LeaseRecord{"c", seconds(15), 4, "1999-01-01T00:00:00Z"};
  CHECK(election.Look(election.a, 1000) == "a waits");
  // It renews with a clock that goes backwards: still a renewal.
  election.lease->renewed = "1998-01-01T00:00:00Z";
  CHECK(election.Look(election.a, 1014) == "a waits");
  CHECK(election.Look(election.a, 1028) == "a waits");
  CHECK(election.Look(election.a, 1029) == "a takes 5");
}

TEST_CASE("leader_election: a lease without sense lasts as ours would",
          "[leader_election]") {
  Election election;
  election.lease = LeaseRecord{"c", seconds(-5), 1, ""};
  CHECK(election.Look(election.a, 0) == "a waits");
  CHECK(election.Look(election.a, 15) == "a takes 2");
  election.lease = LeaseRecord{"c", seconds(1'000'000), 8, ""};
  CHECK(election.Look(election.b, 20) == "b waits");
  CHECK(election.Look(election.b, 35) == "b takes 9");
}

TEST_CASE("leader_election: released, the next one leads at once",
          "[leader_election]") {
  Election election;
  election.Look(election.a, 0);
  election.lease = election.a.Release(At(1));
  REQUIRE(election.lease);
  CHECK(election.lease->holder.empty());
  CHECK(election.Leaders(1) == "");
  CHECK_FALSE(election.a.Release(At(1)));
  CHECK(election.Look(election.b, 1.1) == "b takes 2");
}

TEST_CASE("leader_election: a lease that was deleted begins a higher term",
          "[leader_election]") {
  Election election;
  election.lease = LeaseRecord{"", seconds(1), 6, ""};
  CHECK(election.Look(election.a, 0) == "a takes 7");
  election.lease.reset();
  CHECK(election.Look(election.a, 2) == "a takes 8");
  CHECK(election.Leaders(2) == "a8");
  // Made again by somebody who knows nothing of the terms before.
  election.lease = LeaseRecord{"b", seconds(15), 0, "x"};
  CHECK(election.Look(election.a, 4) == "a waits");
  CHECK(election.Leaders(4) == "");
  CHECK(election.Look(election.a, 19) == "a takes 9");
}

TEST_CASE("leader_election: a term that an edge knows is exceeded",
          "[leader_election]") {
  Election election;
  election.Look(election.a, 0);
  election.a.Exceed(40);
  CHECK(election.Look(election.a, 2) == "a renews 41");
  CHECK(election.Leaders(2) == "a41");
  CHECK(election.Look(election.a, 4) == "a renews 41");
  // Another one leads in the same term, by a lease of its own.
  election.a.Exceed(41);
  CHECK(election.Look(election.a, 6) == "a renews 42");
  election.a.Exceed(30);
  CHECK(election.Look(election.a, 8) == "a renews 42");
}

TEST_CASE("leader_election: one that is alone takes a term without an end",
          "[leader_election]") {
  Election election;
  election.Look(election.b, 0);
  LeaderElection alone("c", {}, true);
  const auto record = alone.Observe(At(1), election.lease);
  REQUIRE(record);
  CHECK(record->transitions == 2);
  alone.Written(At(1), *record);
  CHECK(alone.Term(At(100'000)) == 2);
  CHECK_FALSE(alone.must_rise());
  alone.Exceed(2);
  CHECK(alone.must_rise());
}

TEST_CASE("leader_election: an older process of the same name is another one",
          "[leader_election]") {
  Election election;
  election.Look(election.a, 0);
  LeaderElection restarted("a", {});
  CHECK_FALSE(restarted.Observe(At(1), election.lease));
  CHECK(restarted.Observe(At(16), election.lease)->transitions == 2);
}

}  // namespace
}  // namespace edged::kube
