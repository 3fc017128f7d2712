#pragma once

#include <vector>

#include "common/nftables/ruleset.h"
#include "edged/core/host_facts.h"

namespace edged::edge {

// The chains that remember in a connection's mark which interface it came in
// by, and mark its answers for that interface's way (arrival_ways.h). None
// where no interface needs one. Pure.
std::vector<nftables::Chain> WayChains(const HostFacts& facts);

}  // namespace edged::edge
