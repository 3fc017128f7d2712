#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clusteragent/core/uplink_table.h"
#include "common/net_types.h"
#include "common/nftables/ruleset.h"

// What table `inet clusteragent` is made of: the names of its sets, which
// people read in `nft list table inet clusteragent`, and what its maps of
// listeners have in common. Pure.

namespace edged::agent {

// What differs between the two families.
struct UplinkNames {
  Family family;
  uint8_t nfproto;
  nftables::Type address_type;
  nftables::Field destination;
  nftables::Field icmp_type;
  uint8_t echo_request;
  const char* links;    // set: what forwards only because of us
  const char* targets;  // map: address . protocol . port : address . port
  const char* target_ranges;
  const char* edges;     // set: the edges' own addresses
  const char* backends;  // map: address . protocol . port : verdict
  const char* backend_ranges;
  const char* timeouts;  // map: address . protocol . port : verdict
  const char* timeout_ranges;
};
const UplinkNames& NamesOf(Family family);

// Set: the tunnels' devices.
inline constexpr char kTunnels[] = "tunnels";
inline const nftables::MatchSet kFromTunnel{{nftables::Field::kIifname},
                                            kTunnels};

// What listeners are looked up by, and the types of that; a key of one.
std::vector<nftables::Field> ListenerKey(nftables::Field destination);
std::vector<nftables::Type> ListenerTypes(const UplinkNames& names);
nftables::Bytes ListenerBytes(const UplinkTarget& target, uint16_t port);
// What comes from a tunnel goes where this verdict map of listeners says.
nftables::Rule ByVerdict(const UplinkNames& names, const std::string& map);

}  // namespace edged::agent
