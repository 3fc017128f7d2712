#include "common/config/duration.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include "common/status.h"

namespace edged::config {
namespace {

using std::chrono::milliseconds;

struct Unit {
  std::string_view name;
  int64_t milliseconds;
};

constexpr std::array<Unit, 4> kUnits{
    {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

absl::Status NotADuration(std::string_view text) {
  return InvalidArgument("\"{}\" is not a duration such as 1h30m, 30s or 250ms",
                         text);
}

}  // namespace

absl::StatusOr<milliseconds> ParseDuration(std::string_view text) {
  int64_t total = 0;
  const Unit* next = kUnits.begin();  // units that may still come
  for (std::string_view rest = text; !rest.empty();) {
    if (rest[0] == '-') return NotADuration(text);
    int64_t number = 0;
    const char* end = rest.data() + rest.size();
    const auto [stop, error] = std::from_chars(rest.data(), end, number);
    if (error != std::errc()) return NotADuration(text);
    rest.remove_prefix(static_cast<size_t>(stop - rest.data()));

    const size_t length = rest.find_first_of("0123456789");
    const std::string_view name = rest.substr(0, length);
    while (next != kUnits.end() && next->name != name) ++next;
    if (next == kUnits.end()) return NotADuration(text);
    int64_t part = 0;
    if (__builtin_mul_overflow(number, next->milliseconds, &part) ||
        __builtin_add_overflow(total, part, &total)) {
      return NotADuration(text);
    }
    ++next;
    rest.remove_prefix(name.size());
  }
  if (total == 0) return NotADuration(text);
  return milliseconds(total);
}

std::string FormatDuration(milliseconds duration) {
  int64_t rest = duration.count();
  std::string text = rest < 0 ? "-" : "";
  for (const Unit& unit : kUnits) {
    const int64_t number = std::abs(rest / unit.milliseconds);
    if (number > 0) text += fmt::format("{}{}", number, unit.name);
    rest %= unit.milliseconds;
  }
  return text.empty() ? "0s" : text;
}

}  // namespace edged::config
