#pragma once

#include <map>
#include <string>
#include <vector>

#include "clusteragent/core/planner.h"
#include "clusteragent/core/status_plan.h"
#include "common/keys.h"

namespace edged::agent {

// How this replica itself does.
struct OwnUplink {
  bool applied = false;  // its host is as planned
  std::string trouble;   // why not; may be empty
  bool draining = false;
  bool starting = false;  // so what is not there yet says nothing
};

// What a replica says of itself.
struct UplinkStatus {
  struct Edge {  // that it has a tunnel to, or should have
    std::string name;
    std::string uid;      // empty: not known
    uint32_t block = 0;   // 0: none yet
    std::string trouble;  // what is in the way; empty: it carries traffic
    bool operator==(const Edge&) const = default;
  };
  Condition ready;
  size_t joined = 0;                  // edges that have joined
  size_t carrying = 0;                // of them, those whose tunnel is up
  std::map<std::string, Edge> edges;  // by EdgeNode name
  std::vector<IpAddress> addresses;   // UplinkFacts' of its host
  bool operator==(const UplinkStatus&) const = default;
};

// Ready is whether it carries traffic of every edge that has joined; while it
// starts and does not, it is unknown. Pure.
UplinkStatus MakeUplinkStatus(const Plan& plan, const EdgeReports& reports,
                              const OwnUplink& own);

}  // namespace edged::agent
