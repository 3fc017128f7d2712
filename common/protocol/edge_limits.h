#pragma once

#include <cstddef>

// What one edge takes.

namespace edged::protocol {

// Each takes some 400 bytes, on the edge and in its kernel. What is beyond is
// refused alone.
inline constexpr size_t kMostMappings = 262'144;
// As many as there are marks. A change that makes more is refused as a whole.
inline constexpr size_t kMostGroups = 65'535;

}  // namespace edged::protocol
