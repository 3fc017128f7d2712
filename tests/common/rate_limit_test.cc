#include "common/rate_limit.h"

#include <catch2/catch.hpp>

namespace edged {
namespace {

using std::chrono::milliseconds;

TEST_CASE("rate_limit: a burst, then one after the other", "[rate_limit]") {
  RateLimit limit(10, 3);
  const RateLimit::TimePoint start(std::chrono::seconds(100));
  for (int i = 0; i < 3; ++i) CHECK(limit.Take(start) == milliseconds(0));
  CHECK(limit.Take(start) == milliseconds(100));
  CHECK(limit.Take(start) == milliseconds(200));
  // 300 ms later both are gone, and one more is there.
  CHECK(limit.Take(start + milliseconds(300)) == milliseconds(0));
  CHECK(limit.Take(start + milliseconds(300)) == milliseconds(100));
  // A pause fills it to the burst and no further, also when time goes back.
  const auto later = start + std::chrono::hours(1);
  for (int i = 0; i < 3; ++i) CHECK(limit.Take(later) == milliseconds(0));
  CHECK(limit.Take(start) == milliseconds(100));
  CHECK(limit.Take(later) == milliseconds(200));
}

TEST_CASE("rate_limit: who need not wait takes what is there", "[rate_limit]") {
  RateLimit limit(10, 2);
  const RateLimit::TimePoint start(std::chrono::seconds(100));
  CHECK(limit.IsFull(start));
  CHECK(limit.TryTake(start));
  CHECK(limit.TryTake(start));
  CHECK_FALSE(limit.TryTake(start + milliseconds(99)));
  CHECK(limit.TryTake(start + milliseconds(100)));
  CHECK_FALSE(limit.TryTake(start + milliseconds(100)));
  CHECK_FALSE(limit.IsFull(start + milliseconds(250)));
  CHECK(limit.IsFull(start + milliseconds(300)));
}

}  // namespace
}  // namespace edged
