#include "clusteragent/paced_call.h"

#include <catch2/catch.hpp>

#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

constexpr auto kPause = milliseconds(200);

TEST_CASE("paced_call: the first asks are answered at once", "[paced_call]") {
  VirtualLoop loop;
  int calls = 0;
  PacedCall call(loop, 3, kPause, [&calls] { ++calls; });
  for (int i = 1; i <= 3; ++i) {
    call.Ask();
    CHECK(calls == i);
  }
  loop.Advance(std::chrono::minutes(1));
  CHECK(calls == 3);
  CHECK(loop.timers() == 0);
  for (int i = 4; i <= 6; ++i) {
    call.Ask();
    CHECK(calls == i);
  }
}

TEST_CASE("paced_call: who asks without pause gets one call a pause",
          "[paced_call]") {
  VirtualLoop loop;
  int calls = 0;
  PacedCall call(loop, 3, kPause, [&calls] { ++calls; });
  for (int i = 0; i < 2'000; ++i) {
    call.Ask();
    loop.Advance(milliseconds(1));
  }
  CHECK(calls == 3 + 10);
  // The last ask is not forgotten, and answered once.
  call.Ask();
  loop.Advance(kPause);
  CHECK(calls == 3 + 11);
  loop.Advance(std::chrono::minutes(1));
  CHECK(calls == 3 + 11);
}

}  // namespace
}  // namespace edged::agent
