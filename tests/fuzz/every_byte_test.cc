// The seeds of one fuzz target, cut and changed at every byte. Each input lies
// in memory of its own, so that sanitizers see who reads beyond its end.

#include <catch2/catch.hpp>
#include <cstddef>

#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

bool TryCopy(const std::vector<uint8_t>& input) {
  return Try(std::vector<uint8_t>(input));
}

std::vector<uint8_t> BytesOf(const std::string& seed) {
  return {seed.begin(), seed.end()};
}

}  // namespace

TEST_CASE("fuzz: takes every seed whole", "[fuzz]") {
  const auto seeds = Seeds();
  REQUIRE_FALSE(seeds.empty());
  for (size_t i = 0; i < seeds.size(); ++i) {
    INFO("seed " << i);
    CHECK(seeds[i].size() <= 4096);
    CHECK(TryCopy(BytesOf(seeds[i])));
  }
}

TEST_CASE("fuzz: survives truncation at every byte", "[fuzz]") {
  size_t refused = 0;
  for (const std::string& seed : Seeds()) {
    for (size_t size = 0; size < seed.size(); ++size) {
      if (!TryCopy(BytesOf(seed.substr(0, size)))) ++refused;
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("fuzz: survives a change of every byte", "[fuzz]") {
  size_t refused = 0;
  for (const std::string& seed : Seeds()) {
    for (size_t at = 0; at < seed.size(); ++at) {
      std::vector<uint8_t> changed = BytesOf(seed);
      for (const int to : {0x00, 0xff, changed[at] + 1, changed[at] ^ 0x80}) {
        changed[at] = static_cast<uint8_t>(to);
        if (!TryCopy(changed)) ++refused;
      }
    }
  }
  CHECK(refused > 0);
}

}  // namespace edged::fuzz
