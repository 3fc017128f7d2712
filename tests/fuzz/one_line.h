#pragma once

#include <algorithm>
#include <string_view>

#include "tests/fuzz/target.h"

namespace edged::fuzz {

// A message for the log and for terminals, whatever it quotes.
inline void RequireOneLine(std::string_view message) {
  Require(!message.empty(), "a message says something");
  Require(std::ranges::none_of(message,
                               [](char c) {
                                 const auto byte = static_cast<uint8_t>(c);
                                 return byte < 0x20 || byte == 0x7f;
                               }),
          "a message has no control characters");
}

}  // namespace edged::fuzz
