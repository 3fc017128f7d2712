#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/nftables/ruleset.h"

// What `edged trace` follows, and the table that makes the kernel tell of it.
// Pure.

namespace edged::edge {

// Never there for longer than a trace runs.
inline constexpr char kTraceTable[] = "edged-trace";

struct TraceTarget {
  IpAddress public_address;  // as clients know it
  IpAddress nic_address;     // where it arrives
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
};

// "203.0.113.1:80", "[2001:db8::1]:53/udp"; the protocol is tcp unless given.
absl::StatusOr<TraceTarget> ParseTraceTarget(std::string_view text);
std::string ToString(const TraceTarget& target);  // "203.0.113.1 tcp/80"

// Before all other rules it marks packets to the target, and out of `device`
// answers from `mapping_addresses` (the uplinks' for the target's address) and
// errors of ICMP. After all others it has chains without rules: whoever comes
// that far was dropped by none.
nftables::Table TraceTableFor(const TraceTarget& target,
                              const std::string& device,
                              const std::vector<IpAddress>& mapping_addresses);

}  // namespace edged::edge
