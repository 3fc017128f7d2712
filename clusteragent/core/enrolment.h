#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "clusteragent/core/key_replacement.h"
#include "common/keys.h"

namespace edged::agent {

struct ClusterIdentity {
  std::string uid;
  PrivateKey control_key;
};

// A token given out for an edge; it is replaced by the next one.
struct IssuedToken {
  std::string id;
  std::chrono::sys_seconds expires;
  PublicKey edge_key;
  bool operator==(const IssuedToken&) const = default;
};

// By which keys the uplinks of one cluster know an edge.
struct EdgeEnrolment {
  // The token's edge key, of the last token that an edge was joined with; zero:
  // none was.
  PublicKey registered_with;
  KnownEdgeKeys edge;
  bool operator==(const EdgeEnrolment&) const = default;
};

}  // namespace edged::agent
