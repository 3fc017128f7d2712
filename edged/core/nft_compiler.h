#pragma once

#include "common/nftables/ruleset.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"

namespace edged::edge {

// From what an edge should be to the nf_tables objects that do it: the whole
// table `inet edged`. Mappings whose public address is not resolved on this
// host are left out. Pure; every group of the model has its mark in `marks`.
nftables::Table CompileTable(const EdgeModel& model, const GroupMarks& marks,
                             const HostFacts& facts);

}  // namespace edged::edge
