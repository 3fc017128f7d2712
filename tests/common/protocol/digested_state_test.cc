#include "common/protocol/digested_state.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "tests/common/protocol/random_state.h"

namespace edged::protocol {
namespace {

TEST_CASE("digested_state: by whatever way, the digest is that of all records",
          "[digested_state]") {
  RandomStates states(GENERATE(1U, 2U, 3U));
  std::mt19937 random(4);
  DigestedState held(states.Next());
  CHECK(held.digest() == DigestOf(held.state()));
  for (int round = 0; round < 300; ++round) {
    EdgeState next = random() % 4 == 0 ? states.Next() : held.state();
    // A record less, another one, and now and then an order that is none.
    if (!next.mappings.empty()) {
      const auto at =
          next.mappings.begin() +
          static_cast<std::ptrdiff_t>(random() % next.mappings.size());
      if (random() % 2 == 0) {
        next.mappings.erase(at);
      } else {
        at->group += "x";
      }
    }
    if (random() % 3 == 0) next.settings.mtu = 1'280 + random() % 100;
    if (random() % 5 == 0 && !next.uplinks.empty()) next.uplinks.pop_back();
    if (random() % 5 == 0) std::ranges::shuffle(next.mappings, random);
    const DigestedState after(next, &held);
    REQUIRE(after.state() == next);
    REQUIRE(after.digest().ToString() == DigestOf(next).ToString());
    held = after;
  }
}

TEST_CASE("digested_state: the state alone keeps the whole",
          "[digested_state]") {
  CHECK(StateOf(nullptr) == nullptr);
  SharedState digested = std::make_shared<const DigestedState>(EdgeState());
  const auto state = StateOf(digested);
  CHECK(state == StateOf(digested));
  digested.reset();
  CHECK(*state == EdgeState());
}

}  // namespace
}  // namespace edged::protocol
