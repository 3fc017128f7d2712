#include "edged/core/host_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace edged::edge {
namespace {

constexpr std::string_view kTcpListens = "0A", kUdpUnconnected = "07";
// Columns of /proc/net/tcp and udp.
constexpr size_t kLocal = 1, kState = 3, kInode = 9;
constexpr std::string_view kOurTables[] = {"edged", "edged-guard",
                                           "edged-overflow", "edged-trace"};

std::vector<std::string_view> Words(std::string_view line,
                                    std::string_view separators = " \t") {
  std::vector<std::string_view> words;
  size_t begin = line.find_first_not_of(separators);
  while (begin != std::string_view::npos) {
    const size_t end = line.find_first_of(separators, begin);
    words.push_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(separators, end);
  }
  return words;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text, int base) {
  Number number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

// "0100007F:1F90": words of the address in host order, the port as a number.
std::optional<SocketAddress> ParseLocal(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon != 8 && colon != 32) return std::nullopt;
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < colon; i += 8) {
    const auto word = ParseNumber<uint32_t>(text.substr(i, 8), 16);
    if (!word) return std::nullopt;
    std::array<uint8_t, 4> part;
    std::memcpy(part.data(), &*word, part.size());
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  const auto port = ParseNumber<uint16_t>(text.substr(colon + 1), 16);
  if (!port) return std::nullopt;
  return SocketAddress{IpAddress::FromBytes(bytes), *port};
}

// What is left of a line without its comment.
std::string_view Code(std::string_view line) {
  return line.substr(0, line.find('#'));
}

// The name of our table that a line begins, with its family.
std::string OurTable(std::string_view line) {
  const auto words = Words(line, " \t{");
  if (words.size() < 3 || words[0] != "table" || words[1] != "inet") return "";
  const auto* found = std::ranges::find(kOurTables, words[2]);
  return found == std::end(kOurTables) ? "" : "inet " + std::string(words[2]);
}

}  // namespace

std::vector<ListeningSocket> ParseSockets(std::string_view text,
                                          Protocol protocol) {
  const std::string_view wanted =
      protocol == Protocol::kTcp ? kTcpListens : kUdpUnconnected;
  std::vector<ListeningSocket> sockets;
  for (const std::string_view line : Lines(text)) {
    const auto words = Words(line);
    if (words.size() <= kInode || words[kState] != wanted) continue;
    const auto local = ParseLocal(words[kLocal]);
    const auto inode = ParseNumber<uint64_t>(words[kInode], 10);
    if (!local || !inode) continue;
    sockets.push_back({{protocol, local->address, local->port, ""}, *inode});
  }
  return sockets;
}

std::vector<SavedTable> FindSavedTables(std::string_view text,
                                        const std::string& file) {
  std::vector<SavedTable> found;
  int number = 0;
  int depth = 0;
  bool open = false;  // inside one of ours
  for (const std::string_view line : Lines(text)) {
    ++number;
    const std::string_view code = Code(line);
    if (depth == 0) {
      const std::string table = OurTable(code);
      // Without a block it only makes or deletes the table.
      if (!table.empty() && code.find('{') != std::string_view::npos) {
        found.push_back({file, table, number, number});
        open = true;
      }
    }
    depth += static_cast<int>(std::ranges::count(code, '{'));
    depth -= static_cast<int>(std::ranges::count(code, '}'));
    depth = std::max(depth, 0);
    if (open) found.back().last_line = number;
    if (depth == 0) open = false;
  }
  return found;
}

std::vector<std::string> FindIncludes(std::string_view text) {
  std::vector<std::string> patterns;
  for (const std::string_view line : Lines(text)) {
    const auto words = Words(Code(line), " \t\"'");
    if (words.size() >= 2 && words[0] == "include") {
      patterns.emplace_back(words[1]);
    }
  }
  return patterns;
}

std::optional<uint64_t> NumberOfLine(std::string_view text,
                                     std::string_view name, int base) {
  for (const std::string_view line : Lines(text)) {
    const auto words = Words(line, " \t:");
    if (words.size() >= 2 && words[0] == name) {
      return ParseNumber<uint64_t>(words[1], base);
    }
  }
  return std::nullopt;
}

}  // namespace edged::edge
