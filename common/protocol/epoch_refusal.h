#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// How an edge refuses a leadership term that is older than one it has seen: the
// words of the message are what both ends agree on.

namespace edged::protocol {

inline constexpr std::string_view kOlderEpoch = " is older than ";

inline std::string OlderEpochText(uint64_t number, uint64_t seen) {
  return fmt::format(
      "epoch {}{}{}, which this edge has seen; another agent of the cluster "
      "leads, or its count began anew",
      number, kOlderEpoch, seen);
}

// The term that the edge has seen; nothing in other messages.
inline std::optional<uint64_t> SeenEpoch(std::string_view message) {
  const size_t begin = message.find("epoch ");
  const size_t words = message.find(kOlderEpoch);
  if (begin == std::string_view::npos || words == std::string_view::npos ||
      begin > words) {
    return std::nullopt;
  }
  const std::string_view rest = message.substr(words + kOlderEpoch.size());
  uint64_t seen = 0;
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), seen);
  if (error != std::errc() || end == rest.data()) return std::nullopt;
  return seen;
}

}  // namespace edged::protocol
