#pragma once

#include <cstddef>

namespace edged::edge {

// In bytes, of a message when it is parsed.

// A question, or the Hello of a stream.
inline constexpr size_t kMostOfQuestion = 16 << 10;
// A change of 10,000 mappings takes 4 MB, the largest that gRPC passes on 37 MB
// when all of it is removals.
inline constexpr size_t kMostOfChange = 48 << 20;

}  // namespace edged::edge
