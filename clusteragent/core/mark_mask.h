#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace edged::agent {

// The bits of a packet's and a connection's mark that say which edge it belongs
// to; all other bits are somebody else's and kept.
class MarkMask {
 public:
  // InvalidArgument unless some bits are set and they are adjacent.
  static absl::StatusOr<MarkMask> Create(uint32_t mask);

  uint32_t mask() const { return mask_; }
  uint32_t keep() const { return ~mask_; }
  // `number` is 1 to Capacity().
  uint32_t MarkOf(uint32_t number) const { return number << shift_; }
  // The highest number that fits, 255 at most.
  uint32_t Capacity() const;

 private:
  MarkMask(uint32_t mask, int shift) : mask_(mask), shift_(shift) {}

  uint32_t mask_;
  int shift_;
};

}  // namespace edged::agent
