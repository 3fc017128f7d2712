#pragma once

#include <functional>
#include <string>

#include "common/nftables/listing.h"
#include "common/nftables/ruleset.h"
#include "common/nftables/transaction.h"

namespace edged::nftables {

// The canonical text of a rule, comparable with ListedRule::expressions.
using CanonicalText = std::function<std::string(const Rule&)>;

// The smallest transaction that turns what the kernel lists into `wanted`:
// empty when they agree; elements one by one; a chain with any wrong rule is
// flushed and filled again; a set or base chain of another type is made anew
// together with all rules that use it. Objects that `wanted` does not name are
// deleted: the table is ours as a whole. Pure.
Transaction Diff(const Listing& listed, const Table& wanted,
                 const CanonicalText& expressions_of = ExpressionsOf);

}  // namespace edged::nftables
