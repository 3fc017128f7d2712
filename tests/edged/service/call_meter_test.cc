#include "edged/service/call_meter.h"

#include <catch2/catch.hpp>

namespace edged::edge {
namespace {

TEST_CASE("call_meter: tells once who calls without end", "[call_meter]") {
  CallMeter meter;
  auto now = std::chrono::steady_clock::now();
  const auto too_many = [&](const char* peer, int calls) {
    int told = 0;
    for (int i = 0; i < calls; ++i) told += meter.IsTooMany(peer, now) ? 1 : 0;
    return told;
  };
  CHECK(too_many("a", CallMeter::kMostInWindow) == 0);
  CHECK(too_many("b", CallMeter::kMostInWindow) == 0);
  CHECK(too_many("a", 1000) == 1);
  now += CallMeter::kWindow * 2;
  CHECK(too_many("b", CallMeter::kMostInWindow) == 0);
  CHECK(too_many("b", 1) == 1);
}

}  // namespace
}  // namespace edged::edge
