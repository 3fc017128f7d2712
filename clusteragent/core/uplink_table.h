#pragma once

#include <chrono>
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
  // How long the kernel keeps an idle connection; 0: as the host's settings
  // say.
  std::chrono::seconds timeout{0};
  // A listener with several endpoints has one of these for each, side by side.
  // What they are endpoints of; of one name, protocol and family they change
  // together. Empty: a target by its address.
  std::string backend;
  bool client_ip_affinity = false;

  bool SharesListener(const UplinkTarget& other) const {
    return address == other.address && protocol == other.protocol &&
           ports == other.ports;
  }
  auto operator<=>(const UplinkTarget&) const = default;
};

struct TunnelOfEdge {
  std::string device;
  uint32_t mark = 0;
  std::vector<UplinkTarget> targets;
  std::vector<IpAddress> edge_addresses;  // of the edge itself, by family
  std::vector<IpPrefix> blocks;           // ours of its networks, by family
};

// One family that the uplink carries.
struct UplinkFamily {
  Family family = Family::kIpv4;
  // These links forward only because we made them: between them and anything
  // but the tunnels nothing passes.
  std::vector<std::string> guarded_links;
  // There is a fallback route into a tunnel (uplink_plan.h). It is for answers:
  // what this host itself would send by it is refused at once.
  bool fallback = false;
};

// What else of this host the table guards.
struct HostGuard {
  // Devices that introduce us to edges, also while they are not there: they
  // are guarded as tunnels are.
  std::vector<std::string> control_devices;
  std::vector<UplinkFamily> families;
  // As whom the agent runs: nobody else on this host reaches an edge's API.
  uint32_t user = 0;
  // This kernel has timeouts of single connections.
  bool has_timeouts = false;
};

// The table of an uplink: connections are marked with their edge so that each
// reply leaves by the tunnel it came in; what is mapped on that edge goes to
// its target, all else from a tunnel is refused, also what others on this host
// would translate, and what others here begin into one. Where the kernel can, a
// TCP connection that nobody goes on with is forgotten after 10 s. Chains that
// maps lead to come last, by name. Pure.
nftables::Table MakeUplinkTable(const std::vector<TunnelOfEdge>& tunnels,
                                const MarkMask& marks, const HostGuard& guard);

}  // namespace edged::agent
