#pragma once

#include "common/nftables/transaction.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"

// What changes in table `inet edged` where not all of it does. Pure; every
// group of the model or the delta has its mark in `marks`.

namespace edged::edge {

// True when `accepted` changes the public addresses, the IPv6 network or the
// MTU, without which there may be no IPv6: keys, the way back and every chain
// may change then, so commit, resolve the addresses, observe and apply
// nftables::Diff(listing, CompileTable(...)).
bool NeedsWholeTable(const EdgeModel& before,
                     const protocol::EdgeDelta& accepted);

// Exactly the changes that `accepted` makes to the table of `before`, compiled
// under the same addresses; the time it takes depends on the delta and the
// number of groups alone. For deltas that do not need the whole table.
nftables::Transaction CompileDelta(const EdgeModel& before,
                                   const GroupMarks& marks,
                                   const HostFacts& facts,
                                   const protocol::EdgeDelta& accepted);

// From `previous` to facts.health: one rewrite for each chain whose uplinks
// differ, and nothing else.
nftables::Transaction CompileHealthChange(const EdgeModel& model,
                                          const HostFacts& facts,
                                          const UplinkHealth& previous);

}  // namespace edged::edge
