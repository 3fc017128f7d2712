#pragma once

#include <cstddef>
#include <string_view>

namespace edged {

// The length in bytes, 1 to 4, of the well-formed UTF-8 sequence that `text`
// begins with; 0 when there is none (Unicode 15, table 3-7).
size_t Utf8Length(std::string_view text);

}  // namespace edged
