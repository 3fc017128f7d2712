#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/nftables/client.h"

namespace edged::nftables {

// Why this kernel has no `ct timeout` objects, as a part of a sentence; empty:
// it has. Asks by making one in a table that no batch leaves behind. An error
// when that cannot be known now.
absl::StatusOr<std::string> WhyNoTimeouts(Client& client);

}  // namespace edged::nftables
