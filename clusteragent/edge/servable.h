#pragma once

#include <string>
#include <vector>

#include "clusteragent/edge/edge_client.h"
#include "common/protocol/digested_state.h"
#include "common/protocol/records.h"

namespace edged::agent {

// What an edge can be asked for, and what not. An edge that is older than
// access rules would leave them out, and let everybody in. Pure.
class Servable {
 public:
  // Until the edge's Welcome: nothing is withheld.
  Servable() = default;
  Servable(const std::string& edge, const EdgeWelcome& welcome);

  // `wanted` itself, or without the groups that the edge does not know.
  protocol::SharedState Of(const protocol::SharedState& wanted) const;
  // The mappings of `wanted` that Of() leaves out.
  std::vector<RefusedMapping> Withheld(const protocol::EdgeState& wanted) const;
  bool operator==(const Servable&) const = default;

 private:
  bool knows_access_ = true;
  std::string why_;  // for people
};

}  // namespace edged::agent
