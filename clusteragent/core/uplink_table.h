#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clusteragent/core/mark_mask.h"
#include "common/net_types.h"
#include "common/nftables/ruleset.h"

namespace edged::agent {

// What an uplink translates for one edge: connections that arrive on `device`
// for these addresses.
struct UplinkTarget {
  IpAddress address;  // overlay address of one public address of the edge
  Protocol protocol = Protocol::kTcp;
  PortRange ports;
  SocketAddress target;  // a range keeps its ports, whatever the port here
};

struct TunnelOfEdge {
  std::string device;
  uint32_t mark = 0;
  std::vector<UplinkTarget> targets;
};

// The table of an uplink: connections are marked with their edge so that each
// reply leaves by the tunnel it came in; what is mapped goes to its target, all
// else from a tunnel is refused. `guarded_links` forward only because we made
// them: between them and anything but the tunnels nothing passes. Pure.
nftables::Table MakeUplinkTable(const std::vector<TunnelOfEdge>& tunnels,
                                const MarkMask& marks,
                                const std::vector<std::string>& guarded_links);

}  // namespace edged::agent
