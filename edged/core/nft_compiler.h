#pragma once

#include <vector>

#include "common/nftables/ruleset.h"
#include "common/nftables/transaction.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"

// From what an edge should be to the nf_tables objects that do it. Pure; every
// group of the model or the delta has its mark in `marks`.

namespace edged::edge {

// The whole table `inet edged`. Mappings whose public address is not resolved
// on this host are left out.
nftables::Table CompileTable(const EdgeModel& model, const GroupMarks& marks,
                             const HostFacts& facts);

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

// False while the listener's public address is not resolved on this host; an
// IPv6 one is resolved only where IPv6 is carried.
bool IsProgrammable(const protocol::Listener& listener, const HostFacts& facts);
// The mappings that CompileTable() leaves out, sorted; O(1) when all public
// addresses are resolved.
std::vector<protocol::Listener> Unprogrammable(const EdgeModel& model,
                                               const HostFacts& facts);

// The sets that hold mappings, and which of them holds this listener's. Those
// of a family that is not carried are there, and empty: so the table lists in
// one order, whatever came first.
std::vector<nftables::Set> MappingSets();
size_t MappingSetIndex(const protocol::Listener& listener);

// The element of a programmable listener: `mark` is its data.
nftables::Element ElementOf(const protocol::Listener& listener, uint32_t mark,
                            const HostFacts& facts);

}  // namespace edged::edge
