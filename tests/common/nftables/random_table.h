#pragma once

#include <random>

#include "common/nftables/ruleset.h"

namespace edged::nftables {

// A valid table "edged" like the edge's, in which anything may be missing or
// different: elements, data, types, rules, groups, hooks and priorities. A
// sequence of them makes every kind of change.
Table RandomTable(std::mt19937& random);

}  // namespace edged::nftables
