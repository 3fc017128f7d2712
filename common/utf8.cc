#include "common/utf8.h"

#include <fmt/format.h>

#include <cstdint>

namespace edged {

size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t i) -> uint8_t {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
  };
  const auto continues = [&byte](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return text.empty() ? 0 : 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool beyond = first == 0xf4 && byte(1) > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond
               ? 4
               : 0;
  }
  return 0;
}

std::string Escaped(std::string_view text, std::string_view also) {
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const auto first = static_cast<uint8_t>(text[0]);
    // U+0080 to U+009F are controls as well, two bytes each.
    const bool c1 =
        length == 2 && first == 0xc2 && static_cast<uint8_t>(text[1]) <= 0x9f;
    if (length == 0) {
      line += "\\ufffd";
    } else if (first == '\n') {
      line += "\\n";
    } else if (first < 0x20 || first == 0x7f || c1) {
      const int code = c1 ? static_cast<uint8_t>(text[1]) : first;
      line += fmt::format("\\u{:04x}", code);
    } else {
      if (also.find(text[0]) != std::string_view::npos) line += '\\';
      line += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return line;
}

}  // namespace edged
