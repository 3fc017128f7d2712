#pragma once

#include <string>

#include "common/nftables/ruleset.h"
#include "common/nftables/transaction.h"

// nft text of typed objects: what `nft list` (1.0.6) prints for them, so that a
// test or a plan can be read by people and loaded by `nft -f`. Only for objects
// that pass the checks of check.h. Counters are printed as zero.

namespace edged::nftables {

std::string Print(const Rule& rule);  // one line, without a final newline
std::string Print(const Verdict& verdict);
// `KEY` or `KEY : DATA`, without the element's counter.
std::string Print(const Element& element, const Set& set);
std::string Print(const Chain& chain);  // a block, indented by one tab
std::string Print(const Table& table);  // `table inet NAME { ... }`
// One nft command, without a final newline, such as
// `add element inet edged ports4 { ... }`.
std::string Print(const Operation& operation, const std::string& table);
std::string Print(const Transaction& transaction);  // one nft command a line

}  // namespace edged::nftables
