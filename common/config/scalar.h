#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace edged::config {

// The value of a plain (unquoted) scalar by the core schema of YAML 1.2.2,
// section 10.3.2: null, true, 12, 0x1f, 0o17, 1.5, .inf, else a string.
// Integers beyond 64 bits become floating point numbers.
nlohmann::json TypedScalar(std::string_view text);

}  // namespace edged::config
