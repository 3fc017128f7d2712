#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// How an edge refuses a leadership term that is older than one it has seen, and
// how it ends a stream for another one: the words of the messages are what both
// ends agree on.

namespace edged::protocol {

// The highest term that there is: above what any Lease counts to by itself
// (leaseTransitions has 31 bits), so that an edge which has seen it can only be
// told to forget it.
inline constexpr uint64_t kHighestEpoch = uint64_t{1} << 30;

inline constexpr std::string_view kOlderEpoch = " is older than ";

inline std::string OlderEpochText(uint64_t number, uint64_t seen) {
  return fmt::format(
      "epoch {}{}{}, which this edge has seen; another agent of the cluster "
      "leads, or its count began anew",
      number, kOlderEpoch, seen);
}

inline constexpr std::string_view kTookOver =
    "a newer stream took over, epoch ";

inline std::string TookOverText(uint64_t number) {
  return fmt::format("{}{}", kTookOver, number);
}

// The term that the edge has seen; nothing in other messages. Of one that took
// over it may be the reader's own: then two lead in it.
inline std::optional<uint64_t> SeenEpoch(std::string_view message) {
  std::string_view rest;
  if (const size_t over = message.find(kTookOver);
      over != std::string_view::npos) {
    rest = message.substr(over + kTookOver.size());
  } else {
    const size_t begin = message.find("epoch ");
    const size_t words = message.find(kOlderEpoch);
    if (begin == std::string_view::npos || words == std::string_view::npos ||
        begin > words) {
      return std::nullopt;
    }
    rest = message.substr(words + kOlderEpoch.size());
  }
  uint64_t seen = 0;
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), seen);
  if (error != std::errc() || end == rest.data()) return std::nullopt;
  return seen;
}

}  // namespace edged::protocol
