#pragma once

#include <string>
#include <vector>

#include "clusteragent/core/uplink_table.h"
#include "common/nftables/ruleset.h"

namespace edged::agent {

// Listeners with more than one endpoint, of one family: a map leads each to the
// chain of its backend, which chooses by a hash of the client and, without
// affinity, its port. What changes when endpoints come and go is one rule of
// one chain, however many listeners lead to it.
struct BackendChains {
  // The maps of single ports and of ranges; both empty where there is none.
  nftables::SetWithElements ports;
  nftables::SetWithElements ranges;
  std::vector<nftables::Chain> chains;  // sorted by name

  bool empty() const { return chains.empty(); }
};

// Names and key of the maps.
struct BackendMaps {
  Family family = Family::kIpv4;
  const char* ports;
  const char* ranges;
  std::vector<nftables::Type> key;
};

// Whether the listener of one of `targets` has other endpoints, too.
bool IsOneOfSeveral(const std::vector<UplinkTarget>& targets, size_t index);

BackendChains MakeBackendChains(const std::vector<TunnelOfEdge>& tunnels,
                                const BackendMaps& maps);

// The endpoint of each slot that a hash chooses from. Without affinity one slot
// for each; with it 256, dealt so that an endpoint more or less moves few
// clients. Of more than 256 endpoints the first serve.
std::vector<SocketAddress> DealEndpoints(
    const std::vector<SocketAddress>& endpoints, bool client_ip_affinity);

}  // namespace edged::agent
