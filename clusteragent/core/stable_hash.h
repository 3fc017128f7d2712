#pragma once

#include <string>
#include <vector>

namespace edged::agent {

// Names that stay the same over restarts, versions and machines: the first
// `digits` (64 at most) hexadecimal digits of SHA-256 over the parts, each with
// its length in front, so that ("ab", "c") and ("a", "bc") differ.
std::string StableHash(const std::vector<std::string>& parts, size_t digits);

}  // namespace edged::agent
