#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/nftables/ruleset.h"

// A table as the kernel lists it. Rules are compared by what they do: by the
// kernel's expressions as canonical text, with anonymous sets replaced by their
// sorted elements.

namespace edged::nftables {

struct ListedRule {
  uint64_t handle = 0;
  std::string expressions;
  bool operator==(const ListedRule&) const = default;
};

struct ListedChain {
  std::optional<Hook> hook;
  bool policy_accept = true;
  std::vector<ListedRule> rules;
  bool operator==(const ListedChain&) const = default;
};

struct Listing {
  bool exists = false;
  bool dormant = false;     // switched off; adding the table again wakes it
  uint32_t generation = 0;  // of the whole ruleset when it was read
  std::map<std::string, ListedChain> chains;
  // Named ones, elements sorted. One that we would not make, or that has an
  // element that we would not make, has an empty key.
  std::map<std::string, SetWithElements> sets;
  // `ct timeout` objects; one that we would not make has no states.
  std::map<std::string, CtTimeout> timeouts;
  bool operator==(const Listing&) const = default;
};

// The canonical text that the kernel will list for `rule`: equal texts, equal
// rules. A rule that the client would refuse has a text that is never listed.
std::string ExpressionsOf(const Rule& rule);

}  // namespace edged::nftables
