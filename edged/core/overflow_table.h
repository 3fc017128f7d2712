#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "common/net_types.h"
#include "common/nftables/ruleset.h"
#include "edged/core/host_facts.h"

// Uplinks' own packets while the kernel's table of connections is full: it
// drops what it has no room for, an uplink that comes from another address and
// an agent that starts anew among it. What has no entry then goes on without
// one. Pure.

namespace edged::edge {

// Only there while the table is full. With entries the answers pass what others
// let pass as established; without, and where they name no new packets either,
// they are lost, as they would be for want of room.
inline constexpr char kOverflowTable[] = "edged-overflow";
// Of its chains: "raw", before the table of connections is asked.
inline constexpr int kOverflowPriority = -300;

// An uplink that was heard just now.
struct HeardUplink {
  IpAddress address;    // in the tunnel, IPv4
  SocketAddress outer;  // where its tunnel's packets come from
  bool operator==(const HeardUplink&) const = default;
};

// One end of a flow to the port of heartbeats and the API.
struct Caller {
  Protocol protocol = Protocol::kTcp;
  SocketAddress end;
  auto operator<=>(const Caller&) const = default;
};

// What of uplinks' own has an entry.
struct TrackedEnds {
  std::set<SocketAddress> outer;
  std::set<Caller> callers;
  bool operator==(const TrackedEnds&) const = default;
};

// Those that still are `heard`: the entries of others may have ended, and will
// not come again.
TrackedEnds StillTracked(const TrackedEnds& tracked,
                         const std::vector<HeardUplink>& heard);

// Before the look into the table of connections, both ways: what goes between
// uplinks and the tunnel's port, or by the tunnel between uplinks and the port
// of heartbeats and the API, is not tracked but for `tracked`. `own` are the
// addresses of this host: what it passes on to others' tunnels may need its
// entry.
nftables::Table OverflowTable(const HostFacts& facts,
                              const std::set<IpAddress>& own,
                              const TrackedEnds& tracked);

}  // namespace edged::edge
