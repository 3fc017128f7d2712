#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace edged {

// The length in bytes, 1 to 4, of the well-formed UTF-8 sequence that `text`
// begins with; 0 when there is none (Unicode 15, table 3-7).
size_t Utf8Length(std::string_view text);

// `text` on one line, with nothing in it that a terminal obeys: control
// characters are written "\n" and "\u001b", what is not UTF-8 "\ufffd". Each
// byte of `also` gets a backslash in front.
std::string Escaped(std::string_view text, std::string_view also = "");

}  // namespace edged
