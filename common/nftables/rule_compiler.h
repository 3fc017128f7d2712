#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nftables/expressions.h"
#include "common/nftables/ruleset.h"
#include "common/nftables/set_codec.h"

// Rules as the nft tool (1.0.6) would send them: the same registers, the same
// protocol checks in front of fields, the same anonymous sets. So `nft list`
// prints every one of them, and loading what it printed makes the same rule.

namespace edged::nftables {

// A constant set that exists only within one rule.
struct AnonymousSet {
  SetLayout layout;
  std::vector<Element> elements;  // sorted by key
};

struct CompiledRule {
  Expressions expressions;
  // To be made before the rule. Lookups name them by their ids.
  std::vector<AnonymousSet> sets;
};

// Anonymous sets get the ids first_set_id, first_set_id + 1, ...
// InvalidArgument for a rule that CheckRule refuses.
absl::StatusOr<CompiledRule> Compile(const Rule& rule, uint32_t first_set_id);

}  // namespace edged::nftables
