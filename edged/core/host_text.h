#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edged/core/doctor.h"

// Texts of this host that doctor reads: tables of sockets below /proc/net, and
// files of nft. Pure.

namespace edged::edge {

struct ListeningSocket {
  LocalListener listener;
  uint64_t inode = 0;  // as in /proc/PID/fd
};

// Of /proc/net/tcp, tcp6, udp or udp6: TCP that listens, and UDP that is not
// connected. Lines that do not parse are left out.
std::vector<ListeningSocket> ParseSockets(std::string_view text,
                                          Protocol protocol);

// Blocks `table inet edged... {` with their line numbers, counted from 1.
std::vector<SavedTable> FindSavedTables(std::string_view text,
                                        const std::string& file);
// The patterns of its include statements.
std::vector<std::string> FindIncludes(std::string_view text);

// The number in a line "NAME: 123 ..." of /proc/meminfo or /proc/PID/status;
// base 16 for capabilities.
std::optional<uint64_t> NumberOfLine(std::string_view text,
                                     std::string_view name, int base = 10);

}  // namespace edged::edge
