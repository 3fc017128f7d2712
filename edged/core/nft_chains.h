#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/nftables/ruleset.h"
#include "common/protocol/records.h"
#include "edged/core/host_facts.h"

// The rules of table `inet edged`. Pure.

namespace edged::edge {

// The chain that sends a group's new connections to its uplinks by hash, or
// refuses them when no uplink serves.
nftables::Chain GroupChain(
    const protocol::Group& group,
    const std::map<std::string, protocol::Uplink>& uplinks,
    const protocol::Settings& settings, const HostFacts& facts);

// All chains but those of groups; nothing in them depends on the model.
std::vector<nftables::Chain> FixedChains(const HostFacts& facts);

}  // namespace edged::edge
