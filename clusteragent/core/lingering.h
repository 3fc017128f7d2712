#pragma once

#include "clusteragent/core/planner.h"
#include "common/protocol/records.h"

// What an uplink carries beyond what is wanted. Pure.

namespace edged::agent {

// `edge` with those of the mappings carried `before` that the edge still has by
// its last answer, and that nothing wanted stands in the place of: a removal
// reaches the edge first. Takes time in proportion to the mappings.
EdgePlan WithLingering(const EdgePlan& edge, const EdgePlan& before,
                       const protocol::EdgeState& answered);

}  // namespace edged::agent
