#include "common/backoff.h"

#include <catch2/catch.hpp>
#include <set>

namespace edged {
namespace {

using std::chrono::milliseconds;

TEST_CASE("backoff: doubles between half and whole of the ceiling",
          "[backoff]") {
  for (int round = 0; round < 50; ++round) {
    Backoff backoff(milliseconds(100), milliseconds(1000));
    for (const int ceiling : {100, 200, 400, 800, 1000, 1000, 1000}) {
      const auto delay = backoff.Next();
      CHECK(delay >= milliseconds(ceiling / 2));
      CHECK(delay <= milliseconds(ceiling));
    }
    CHECK(backoff.attempts() == 7);
  }
}

TEST_CASE("backoff: starts again after a reset", "[backoff]") {
  Backoff backoff(milliseconds(10), milliseconds(100'000));
  for (int i = 0; i < 12; ++i) backoff.Next();
  backoff.Reset();
  CHECK(backoff.attempts() == 0);
  CHECK(backoff.Next() <= milliseconds(10));
}

TEST_CASE("backoff: stays at the most for ever", "[backoff]") {
  Backoff backoff(milliseconds(1), std::chrono::hours(1));
  for (int i = 0; i < 1000; ++i) backoff.Next();
  const auto delay = backoff.Next();
  CHECK(delay >= std::chrono::minutes(30));
  CHECK(delay <= std::chrono::hours(1));
}

TEST_CASE("backoff: spreads its delays", "[backoff]") {
  std::set<milliseconds> delays;
  for (int i = 0; i < 100; ++i) {
    delays.insert(Backoff(milliseconds(1000), milliseconds(1000)).Next());
  }
  CHECK(delays.size() > 50);
}

TEST_CASE("backoff: bears a first delay above the most, and none at all",
          "[backoff]") {
  CHECK(Backoff(milliseconds(500), milliseconds(100)).Next() <=
        milliseconds(100));
  CHECK(Backoff(milliseconds(0), milliseconds(0)).Next() == milliseconds(0));
}

}  // namespace
}  // namespace edged
