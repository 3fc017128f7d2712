#pragma once

#include <map>
#include <vector>

#include "common/protocol/digest.h"
#include "common/protocol/records.h"
#include "edged/core/edge_api.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"
#include "edged/core/ipv6_support.h"
#include "edged/core/route_plan.h"

// Which public addresses this host serves, and what follows for an edge's
// report: mappings on the others stand in the model and not in the kernel.
// Pure.

namespace edged::edge {

using UnservedAddresses = std::map<IpAddress, Unserved>;  // by public address

// Sets nic_addresses of `facts`, which have all else that is known of the host.
// Returns the addresses that are not served, and why.
UnservedAddresses ResolveAddresses(const protocol::Settings& settings,
                                   const ObservedRoutes& observed,
                                   HostFacts& facts);

// The model's digest without mappings that cannot be programmed.
protocol::Digest ProgrammedDigest(const EdgeModel& model,
                                  const HostFacts& facts);
// These mappings.
std::vector<Refusal> NotProgrammed(const EdgeModel& model,
                                   const HostFacts& facts,
                                   const UnservedAddresses& unserved);
// All that the settings name.
std::vector<ResolvedAddress> ResolvedAddresses(
    const protocol::Settings& settings, const HostFacts& facts,
    const UnservedAddresses& unserved);

}  // namespace edged::edge
