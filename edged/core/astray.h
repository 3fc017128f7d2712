#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/net_types.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"

// Uplinks whose packets somebody leads elsewhere than into the tunnel. Pure.

namespace edged::edge {

// Who takes the packets of a family for an uplink: "somebody's route 0.0.0.0/0
// of table 7 takes them".
using Astray = std::map<std::pair<std::string, Family>, std::string>;

// A sentence for each, for people.
std::vector<std::string> WarningsOfAstray(const Astray& astray);

// What is to be told when `before` has become `after`.
struct AstrayNews {
  std::vector<std::string> begun;  // or taken by another one now
  std::vector<std::string> over;   // of what still has a way into the tunnel
};
AstrayNews NewsOfAstray(const Astray& before, const Astray& after,
                        const EdgeModel& model, const HostFacts& facts);

}  // namespace edged::edge
