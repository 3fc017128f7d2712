#pragma once

#include <cstddef>

// What one edge takes.

namespace edged::protocol {

// Each takes some 400 bytes, on the edge and in its kernel. What is beyond is
// refused alone.
inline constexpr size_t kMostMappings = 262'144;
// As many as there are marks. A change that makes more is refused as a whole.
inline constexpr size_t kMostGroups = 65'535;
// Different idle times of either protocol in groups. When one goes, the kernel
// walks its whole table of connections, and nobody's change of nf_tables comes
// to its end meanwhile: up to 100 ms each (6.18). A change that makes more is
// refused as a whole.
inline constexpr size_t kMostTimeouts = 256;

}  // namespace edged::protocol
