#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nftables/program.h"

// The whole ruleset of this network namespace: every table of every family.

namespace edged::nftables {

// Tells of which tables the elements of named sets are read too; anonymous ones
// always are. Our own can have 60,000.
using WantsElements = std::function<bool(const AnyTable&)>;

// Read once, without a promise that no one writes meanwhile. PermissionDenied
// without CAP_NET_ADMIN, FailedPrecondition without nf_tables. A set of more
// than 100,000 elements is left incomplete.
absl::StatusOr<std::vector<AnyTable>> ReadAllTables(const WantsElements& wants);

}  // namespace edged::nftables
