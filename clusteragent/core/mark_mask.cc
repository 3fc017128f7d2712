#include "clusteragent/core/mark_mask.h"

#include <algorithm>
#include <bit>

#include "common/status.h"

namespace edged::agent {

absl::StatusOr<MarkMask> MarkMask::Create(uint32_t mask) {
  const int shift = mask == 0 ? 0 : std::countr_zero(mask);
  const uint32_t low = mask >> shift;
  if (mask == 0 || (low & (low + 1)) != 0) {
    return InvalidArgument("mark mask 0x{:x}: needs adjacent bits, like 0xff",
                           mask);
  }
  return MarkMask(mask, shift);
}

uint32_t MarkMask::Capacity() const {
  constexpr uint32_t kMost = 255;
  return std::min(mask_ >> shift_, kMost);
}

}  // namespace edged::agent
