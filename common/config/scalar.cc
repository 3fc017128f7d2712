#include "common/config/scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace edged::config {
namespace {

template <size_t N>
bool IsOneOf(std::string_view text,
             const std::array<std::string_view, N>& words) {
  return std::ranges::find(words, text) != words.end();
}

constexpr std::array<std::string_view, 5> kNull{"", "~", "null", "Null",
                                                "NULL"};
constexpr std::array<std::string_view, 3> kTrue{"true", "True", "TRUE"};
constexpr std::array<std::string_view, 3> kFalse{"false", "False", "FALSE"};
constexpr std::array<std::string_view, 3> kInfinity{".inf", ".Inf", ".INF"};
constexpr std::array<std::string_view, 3> kNan{".nan", ".NaN", ".NAN"};

// All of `text` as one number.
template <typename Number, typename Format>
std::optional<Number> Parse(std::string_view text, Format format) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number, format);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

size_t SkipDigits(std::string_view text, size_t at) {
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
  return at;
}

// Digits with at most one point, then an optional exponent; no sign, no words.
bool LooksLikeFloat(std::string_view text) {
  const size_t whole = SkipDigits(text, 0);
  size_t at = whole;
  size_t digits = whole;
  if (at < text.size() && text[at] == '.') {
    const size_t end = SkipDigits(text, at + 1);
    digits += end - at - 1;
    at = end;
  }
  if (digits == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t end = SkipDigits(text, at);
    if (end == at) return false;
    at = end;
  }
  return at == text.size();
}

std::optional<nlohmann::json> Number(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view magnitude =
      negative || text.starts_with('+') ? text.substr(1) : text;
  if (magnitude.size() == text.size() && text.size() > 2 && text[0] == '0' &&
      (text[1] == 'x' || text[1] == 'o')) {
    const int base = text[1] == 'x' ? 16 : 8;
    if (const auto value = Parse<uint64_t>(text.substr(2), base)) return *value;
    return std::nullopt;
  }
  if (IsOneOf(magnitude, kInfinity)) {
    const double infinity = std::numeric_limits<double>::infinity();
    return negative ? -infinity : infinity;
  }
  if (!LooksLikeFloat(magnitude)) return std::nullopt;
  if (SkipDigits(magnitude, 0) == magnitude.size()) {
    // Without the plus sign, which from_chars does not read.
    const std::string_view digits = negative ? text : magnitude;
    if (const auto value = Parse<int64_t>(digits, 10)) return *value;
    if (const auto value = Parse<uint64_t>(digits, 10)) return *value;
  }
  const auto value = Parse<double>(magnitude, std::chars_format::general);
  if (!value) return std::nullopt;  // beyond what a double holds
  return negative ? -*value : *value;
}

}  // namespace

nlohmann::json TypedScalar(std::string_view text) {
  if (IsOneOf(text, kNull)) return nullptr;
  if (IsOneOf(text, kTrue)) return true;
  if (IsOneOf(text, kFalse)) return false;
  if (IsOneOf(text, kNan)) return std::numeric_limits<double>::quiet_NaN();
  if (auto number = Number(text)) return *std::move(number);
  return std::string(text);
}

}  // namespace edged::config
