#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/facts.h"
#include "clusteragent/core/index_pool.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/verdict.h"
#include "common/net_types.h"

// Numbers and networks that are chosen once and then kept: written down before
// anybody uses them. Pure.

namespace edged::agent {

// Each family has a network and indexes of its own.
struct EdgeRecord {
  std::string uid;   // of the EdgeNode; another uid is another edge
  IpPrefix network;  // overlay
  std::optional<IpPrefix> network6;  // the same for IPv6; unset: none
  uint16_t listen_port = 0;
  bool enrolled = false;     // once true, networks and port stay
  IndexPool public_indexes;  // by address; Overlay::MappingAddress' index
  IndexPool public_indexes6;
  IndexPool blocks;  // by uplink name

  std::optional<uint32_t> IndexOf(const IpAddress& public_address) const;
  bool operator==(const EdgeRecord&) const = default;
};

// Kept in the state folder; the same for every replica.
struct Records {
  std::map<std::string, EdgeRecord> edges;  // by EdgeNode name
  // By EdgeNode name, 1-255: the edge's mark and policy table on an uplink.
  IndexPool numbers;
  bool operator==(const Records&) const = default;
};

struct Allocation {
  Records records;
  // By EdgeNode name, what it could not be given and why. An edge that is not
  // in `records` gets no plan at all.
  std::map<std::string, std::vector<Refusal>> problems;
  bool operator==(const Allocation&) const = default;
};

// The records with everything that `world` needs: what is recorded stays for as
// long as its object exists, what is missing is given in the order of age, and
// records of gone EdgeNodes, addresses and uplinks are freed.
Allocation Allocate(const Records& records, const World& world,
                    const Facts& facts);

}  // namespace edged::agent
