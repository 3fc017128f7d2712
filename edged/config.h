#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/logging.h"
#include "common/net_types.h"
#include "common/wireguard/client.h"
#include "edged/core/limits.h"

namespace edged::edge {

inline constexpr char kDefaultConfig[] = "/etc/edged/edged.yaml";
inline constexpr char kDefaultState[] = "/var/lib/edged";
inline constexpr char kDefaultSocket[] = "/run/edged/edged.sock";

// Whether a table that only edged can change keeps connections alive while
// somebody flushes the ruleset (system/guard_table.h).
enum class Ownership { kNone, kGuard };

// edged.yaml: what the VPS's administrator decides. No program writes it.
struct Config {
  wireguard::BackendChoice wireguard = wireguard::BackendChoice::kAuto;
  std::vector<ReservedPort> reserved_ports{{Protocol::kTcp, 22}};
  Ownership ownership = Ownership::kGuard;
  std::string state = kDefaultState;
  LogSettings log;
};

// InvalidArgument names file, line, key and value; an unknown key is an error.
absl::StatusOr<Config> ParseConfig(std::string_view text,
                                   const std::string& file);
// The defaults when the file is missing.
absl::StatusOr<Config> LoadConfig(const std::string& path);

// "22/tcp", "53/udp".
absl::StatusOr<ReservedPort> ParseReservedPort(std::string_view text);
std::string ToString(const ReservedPort& port);

}  // namespace edged::edge
