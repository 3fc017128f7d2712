#include "clusteragent/kube/rate_limit.h"

#include <catch2/catch.hpp>

namespace edged::kube {
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

}  // namespace
}  // namespace edged::kube
