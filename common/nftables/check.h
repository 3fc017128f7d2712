#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/nftables/ruleset.h"

// What no kernel would take, or what nft 1.0.6 could not list and load again
// unchanged. All return InvalidArgument with the object and its values; what
// depends on the rest of the table is left to the kernel.

namespace edged::nftables {

absl::Status CheckName(std::string_view name);
absl::Status CheckSet(const Set& set);
absl::Status CheckElement(const Set& set, const Element& element);
absl::Status CheckTimeout(const CtTimeout& timeout);
absl::Status CheckRule(const Rule& rule);

}  // namespace edged::nftables
