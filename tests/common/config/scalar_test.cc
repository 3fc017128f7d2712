#include "common/config/scalar.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace edged::config {
namespace {

// The type's name and the value, as JSON prints them.
std::string Typed(std::string_view text) {
  const nlohmann::json value = TypedScalar(text);
  return std::string(value.is_number_integer() ? "integer"
                                               : value.type_name()) +
         " " + value.dump();
}

TEST_CASE("scalar: types as the core schema says", "[scalar]") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "null null"},
      {"~", "null null"},
      {"null", "null null"},
      {"true", "boolean true"},
      {"FALSE", "boolean false"},
      {"12", "integer 12"},
      {"-12", "integer -12"},
      {"+12", "integer 12"},
      {"007", "integer 7"},
      {"0x1F", "integer 31"},
      {"0o17", "integer 15"},
      {"-9223372036854775808", "integer -9223372036854775808"},
      {"18446744073709551615", "integer 18446744073709551615"},
      {"18446744073709551616", "number 1.8446744073709552e+19"},
      {"1.5", "number 1.5"},
      {"-.5", "number -0.5"},
      {"1.", "number 1.0"},
      {"1e3", "number 1000.0"},
      {"+1.5E-1", "number 0.15"},
  };
  for (const auto& [text, typed] : cases) {
    CHECK(text + ": " + Typed(text) == text + ": " + typed);
  }
  CHECK(TypedScalar(".inf").get<double>() > 1e308);
  CHECK(TypedScalar("-.INF").get<double>() < -1e308);
  CHECK(TypedScalar(".nan").is_number_float());
}

TEST_CASE("scalar: leaves everything else a string", "[scalar]") {
  for (const char* text : {"yes",
                           "no",
                           "on",
                           "tRUE",
                           "nil",
                           "1h",
                           "10.0.0.1",
                           "10.200.0.0/22",
                           "::1",
                           "12:30:00",
                           "0b1",
                           "0x",
                           "0xg",
                           "-0x1f",
                           "+0o7",
                           "1_000",
                           ".",
                           "-",
                           "+",
                           "--1",
                           "+-1",
                           "e3",
                           ".e3",
                           "1e",
                           "1e+",
                           "1.5.0",
                           "inf",
                           "nan",
                           "infinity",
                           "+.nan",
                           " 1",
                           "1 ",
                           "0x1ffffffffffffffff",
                           "1e999"}) {
    INFO(text);
    CHECK(TypedScalar(text) == nlohmann::json(text));
  }
}

}  // namespace
}  // namespace edged::config
