#include "clusteragent/kube/term_contest.h"

#include <catch2/catch.hpp>

namespace edged::kube {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("term_contest: what edges remember is gone above at once",
          "[term_contest]") {
  TermContest contest(seconds(15));
  CHECK(contest.Hear("a", 7) == seconds(0));
  CHECK(contest.Hear("a", 7) == std::nullopt);
  CHECK(contest.Hear("b", 12) == seconds(0));
}

TEST_CASE("term_contest: two leaders come to rest", "[term_contest]") {
  TermContest contest(seconds(15));
  contest.Hear("a", 7);
  TermContest::Duration last{};
  for (int term = 9; term < 29; term += 2) {
    const auto wait = contest.Hear("a", term);
    REQUIRE(wait);
    CHECK(*wait >= seconds(15));
    CHECK(*wait <= minutes(10));
    CHECK(contest.Hear("a", term) == std::nullopt);
    last = *wait;
  }
  CHECK(last >= minutes(5));
  // `edged reset --epoch`.
  CHECK(contest.Hear("a", 1) == seconds(0));
}

TEST_CASE("term_contest: after a long peace it begins anew", "[term_contest]") {
  TermContest contest(seconds(15));
  auto now = TermContest::Clock::now();
  contest.Hear("a", 7, now);
  for (int term = 9; term < 29; term += 2) {
    contest.Hear("a", term, now += minutes(20));
  }
  // Still the same contest.
  CHECK(contest.Hear("a", 29, now += minutes(20)) >= minutes(5));
  CHECK(contest.Hear("a", 31, now += minutes(31)) <= seconds(30));
  CHECK(contest.Hear("a", 33, now += minutes(1)) > seconds(29));
}

}  // namespace
}  // namespace edged::kube
