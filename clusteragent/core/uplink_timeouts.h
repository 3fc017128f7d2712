#pragma once

#include <vector>

#include "clusteragent/core/uplink_table.h"
#include "common/nftables/ruleset.h"

namespace edged::agent {

// The one of all TCP, and bindings' own: an object and a chain that gives it
// for each, and maps that lead listeners to these chains. A set for each would
// do without chains, but the kernel seeks sets one by one, and each packet
// would too.
struct UplinkTimeouts {
  std::vector<nftables::CtTimeout> objects;
  std::vector<nftables::Chain> chains;
  std::vector<nftables::SetWithElements> maps;
  std::vector<nftables::Rule> rules;  // of a chain before the translation
};
UplinkTimeouts TimeoutsOf(const std::vector<TunnelOfEdge>& tunnels,
                          const HostGuard& guard);

}  // namespace edged::agent
