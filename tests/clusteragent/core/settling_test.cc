#include "clusteragent/core/settling.h"

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

Settling::State NewState() {
  return std::make_shared<const protocol::EdgeState>();
}

Settling::TimePoint At(int ms) {
  return Settling::TimePoint(std::chrono::hours(1) + milliseconds(ms));
}

TEST_CASE("settling: a change has a moment", "[settling]") {
  Settling settling;
  const auto first = NewState();
  settling.Note(At(0), first, first, first);
  CHECK_FALSE(settling.IsSettling(At(0)));
  const auto second = NewState();
  settling.Note(At(10), second, first, first);
  CHECK(settling.IsSettling(At(10)));
  CHECK(settling.IsSettling(At(2009)));
  CHECK_FALSE(settling.IsSettling(At(2010)));
  // Asking for more is no step of the edge.
  const auto third = NewState();
  settling.Note(At(1500), third, first, first);
  CHECK_FALSE(settling.IsSettling(At(2010)));
  CHECK(settling.until() == At(2010));
}

TEST_CASE("settling: whoever keeps up with many changes is given time",
          "[settling]") {
  Settling settling;
  auto answered = NewState();
  auto wanted = answered;
  for (int i = 0; i < 100; ++i) {
    const auto next = NewState();
    settling.Note(At(100 * i), next, answered, answered);
    settling.Note(At(100 * i + 90), next, wanted, answered);
    CHECK(settling.IsSettling(At(100 * i + 90)));
    answered = wanted;
    wanted = next;
  }
  settling.Note(At(20'000), wanted, wanted, answered);
  CHECK(settling.IsSettling(At(20'001)));  // an uplink has to follow
  settling.Note(At(20'100), wanted, wanted, wanted);
  CHECK_FALSE(settling.until());
}

}  // namespace
}  // namespace edged::agent
