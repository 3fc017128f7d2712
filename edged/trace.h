#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nftables/client.h"

namespace edged::edge {

struct TraceOptions {
  std::string target;  // ADDRESS:PORT[/tcp|/udp]
  std::string socket;  // of edged, for names; it need not run
  std::chrono::seconds patience{30};
  size_t flows = 5;
};

// `edged trace`: follows real packets and gives each line to `say` as soon as
// it is known. Ends after the time, the flows, many packets, or SIGINT and
// SIGTERM; the table that it makes is then gone, whatever happens. True when
// packets came, and all were answered.
absl::StatusOr<bool> Trace(const TraceOptions& options,
                           const std::function<void(const std::string&)>& say);

// Removes a trace's table that nobody owns. (A running trace owns its table,
// and the kernel removes that with its socket.)
absl::Status RemoveTraceTable(nftables::Client& client);

}  // namespace edged::edge
