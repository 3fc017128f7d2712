#include "common/utf8.h"

#include <catch2/catch.hpp>
#include <string_view>

namespace edged {
namespace {

TEST_CASE("utf8: measures well-formed sequences", "[utf8]") {
  CHECK(Utf8Length("a") == 1);
  CHECK(Utf8Length(std::string_view("\0", 1)) == 1);
  CHECK(Utf8Length("\x7f") == 1);
  CHECK(Utf8Length("\xc2\x80") == 2);
  CHECK(Utf8Length("\xdf\xbfx") == 2);
  CHECK(Utf8Length("\xe0\xa0\x80") == 3);
  CHECK(Utf8Length("\xed\x9f\xbf") == 3);
  CHECK(Utf8Length("\xef\xbf\xbf") == 3);
  CHECK(Utf8Length("\xf0\x90\x80\x80") == 4);
  CHECK(Utf8Length("\xf4\x8f\xbf\xbf") == 4);
}

TEST_CASE("utf8: refuses what is not well-formed", "[utf8]") {
  for (const std::string_view text :
       {"", "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41",
        "\xe0\x9f\xbf", "\xe1\x80", "\xe1\x80\x41", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf1\x80\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff"}) {
    CHECK(Utf8Length(text) == 0);
  }
}

TEST_CASE("utf8: escapes what a terminal obeys", "[utf8]") {
  CHECK(Escaped("z\xc3\xbcrich \\ \"") == "z\xc3\xbcrich \\ \"");
  CHECK(Escaped("a\nb\tc\x1b[31m\x7f") == "a\\nb\\u0009c\\u001b[31m\\u007f");
  CHECK(Escaped("\xc2\x9b\xc2\x80\xc2\xa0") == "\\u009b\\u0080\xc2\xa0");
  CHECK(Escaped("\xff\xc2") == "\\ufffd\\ufffd");
  CHECK(Escaped("a\\\"b", "\"\\") == R"(a\\\"b)");
}

}  // namespace
}  // namespace edged
