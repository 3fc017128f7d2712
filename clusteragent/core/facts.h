#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "clusteragent/core/objects.h"
#include "common/keys.h"
#include "common/net_types.h"

namespace edged::agent {

// A port that an edge keeps for itself on every public address.
struct ReservedPort {
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
  std::string ToString() const;  // "tcp/22"
  auto operator<=>(const ReservedPort&) const = default;
};

// What is known of an edge beside its object.
struct EdgeFacts {
  // A token was given out or the edge was reached: from now on its network and
  // listen port must not move, which its record remembers.
  bool enrolled = false;
  // As the edge says in Hello; until then what edged reserves by default.
  std::vector<ReservedPort> reserved_ports = {{Protocol::kTcp, 22}};
  bool operator==(const EdgeFacts&) const = default;
};

// One clusteragent replica.
struct UplinkFacts {
  std::string name;
  Labels labels;
  std::map<std::string, PublicKey> keys;  // EdgeNode name → own key there
  std::vector<IpAddress> addresses;       // of its host: TellableAddresses()
  bool operator==(const UplinkFacts&) const = default;
};

// What a replica tells the others of its host's addresses, by which they know
// whether a target is there: those that mean the same to all, kMostAddresses
// of them at most.
inline constexpr size_t kMostAddresses = 1'024;
std::vector<IpAddress> TellableAddresses(std::vector<IpAddress> addresses);

IpPrefix DefaultSupernet();  // 10.200.0.0/14

// What is against IPv6 on the uplink's host, each a sentence that names the
// setting; empty: nothing.
struct Ipv6Trouble {
  std::string off;             // nothing works
  std::string not_forwarding;  // only targets on this host are reached
  bool operator==(const Ipv6Trouble&) const = default;
};

// What the decisions of this folder rest on, beside objects and records.
struct Facts {
  std::string cluster_uid;
  std::string own_uplink;  // the name of one of `uplinks`
  std::vector<UplinkFacts> uplinks;
  std::vector<IpAddress> local_addresses;  // of this host, without our devices'
  // Networks this host routes, without those of our own devices; a default
  // route is passed over.
  std::vector<IpPrefix> host_routes;
  std::map<std::string, EdgeFacts> edges;  // by EdgeNode name; absent: defaults
  Ipv6Trouble ipv6;
  // Why this host keeps no timeouts of single bindings, as a part of a
  // sentence; empty: it does.
  std::string no_timeouts;
  uint32_t mark_mask = 0xff;  // --mark-mask
  // Some object could not be read: an EdgeNode that is missing may be there.
  bool world_is_partial = false;
  // Where networks of EdgeNodes that name none are taken from: free /22s.
  IpPrefix supernet = DefaultSupernet();

  const EdgeFacts& Edge(const std::string& name) const;
  bool operator==(const Facts&) const = default;
};

}  // namespace edged::agent
