#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

// What others did to what is ours, and how it was put right. Pure.

namespace edged {

// Who, as far as the kernel tells: of nf_tables the process, of links,
// addresses and routes the netlink socket, of the rest nothing.
struct Culprit {
  uint32_t pid = 0;
  std::string process;
  uint32_t port = 0;  // of the socket; 0: the kernel itself, or not known

  // "nft (pid 4711)", "netlink port 4711", "somebody".
  std::string ToString() const;
  bool operator==(const Culprit&) const = default;
};

enum class DriftPart {
  kTable,    // table inet edged
  kNetwork,  // links, addresses, routes, their settings
  kTunnel,   // the WireGuard device and its peers
};
std::string_view ToString(DriftPart part);  // "nf_tables", ...

// One repair, whatever number of changes made it necessary.
struct Drift {
  DriftPart part = DriftPart::kTable;
  std::string what;  // "1 element of ports4 deleted"
  Culprit by;
  std::string repair;  // what was written; empty: nothing could be
  std::string error;   // why
  // From when the change was seen.
  std::chrono::nanoseconds took{};

  // One line for the log.
  std::string ToString() const;
  bool operator==(const Drift&) const = default;
};

// Others change what is ours faster than it may be repaired: told when it
// begins, and once more when it is over. Between the two repairs go on, but are
// not told one by one.
struct Flood {
  bool over = false;
  Culprit by;            // of the change that began it
  uint64_t changes = 0;  // seen since; the kernel drops some of that many
  uint64_t repairs = 0;
  std::chrono::nanoseconds lasted{};

  std::string ToString() const;
  bool operator==(const Flood&) const = default;
};

}  // namespace edged
