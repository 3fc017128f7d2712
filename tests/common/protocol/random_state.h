#pragma once

#include <cstdint>
#include <random>

#include "common/protocol/records.h"

namespace edged::protocol {

// Valid, sorted states for property tests, from few names and addresses, so
// that two of them have much in common. The same seed gives the same states.
class RandomStates {
 public:
  explicit RandomStates(uint32_t seed) : random_(seed) {}

  EdgeState Next();
  // From 0 to `most`.
  uint32_t Number(uint32_t most) { return random_() % (most + 1); }

 private:
  IpAddress Address();

  std::mt19937 random_;
};

}  // namespace edged::protocol
