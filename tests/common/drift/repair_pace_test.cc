#include "common/drift/repair_pace.h"

#include <catch2/catch.hpp>

namespace edged {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Culprit kNft{77, "nft", 77};

// A host on which others change something all the time, in virtual time: each
// repair takes `cost`.
struct Storm {
  RepairPace pace;
  RepairPace::Time now{seconds(1000)};
  int repairs = 0;
  milliseconds busy{};

  void Rage(milliseconds cost, RepairPace::Duration lasting) {
    const auto end = now + lasting;
    while (now < end) {
      const auto wait = pace.WaitFor(now, kNft);
      now += wait;
      if (wait > wait.zero()) continue;
      now += cost;
      busy += cost;
      ++repairs;
      pace.Repaired(now, cost, 3);
    }
  }
};

}  // namespace

TEST_CASE("repair_pace: single changes are repaired at once", "[repair_pace]") {
  RepairPace pace;
  RepairPace::Time now{seconds(1000)};
  for (int i = 0; i < 1000; ++i) {
    CHECK(pace.WaitFor(now, kNft) == milliseconds(0));
    pace.Repaired(now, milliseconds(1), 1);
    now += milliseconds(50);
  }
  CHECK(!pace.flood());
  CHECK(!pace.TakeEnd(now));
}

TEST_CASE("repair_pace: quick repairs are 50 at once, then 20 a second",
          "[repair_pace]") {
  Storm storm;
  storm.Rage(milliseconds(1), milliseconds(60));
  CHECK(storm.repairs <= 51);
  CHECK(storm.repairs >= 50);
  storm.repairs = 0;
  storm.Rage(milliseconds(1), seconds(100));
  CHECK(storm.repairs >= 1'900);
  CHECK(storm.repairs <= 2'100);
}

TEST_CASE("repair_pace: dear repairs take a fifth of the time",
          "[repair_pace]") {
  Storm storm;
  storm.Rage(milliseconds(300), seconds(100));
  CHECK(storm.busy >= seconds(18));
  CHECK(storm.busy <= seconds(22));
}

TEST_CASE("repair_pace: the first that waits begins a flood", "[repair_pace]") {
  Storm storm;
  storm.Rage(milliseconds(1), milliseconds(40));
  CHECK(!storm.pace.flood());
  storm.Rage(milliseconds(1), seconds(2));
  REQUIRE(storm.pace.flood());
  CHECK(storm.pace.flood()->by == kNft);
  CHECK(!storm.pace.flood()->over);
}

TEST_CASE("repair_pace: a flood ends once, when it has been calm",
          "[repair_pace]") {
  Storm storm;
  storm.Rage(milliseconds(1), seconds(10));
  CHECK(!storm.pace.TakeEnd(storm.now));
  storm.now += seconds(1);
  CHECK(!storm.pace.TakeEnd(storm.now));
  storm.now += seconds(1);
  const auto flood = storm.pace.TakeEnd(storm.now);
  REQUIRE(flood);
  CHECK(flood->over);
  CHECK(flood->lasted > seconds(11));
  CHECK(flood->repairs >= 190);
  CHECK(flood->changes == 3 * flood->repairs);
  CHECK(!storm.pace.flood());
  CHECK(!storm.pace.TakeEnd(storm.now));
}

}  // namespace edged
