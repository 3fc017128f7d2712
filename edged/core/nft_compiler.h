#pragma once

#include <string>
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

// True when `accepted` changes the public addresses: their keys, back4 and
// every chain may change, so observe again and use
// nftables::Diff(listing, CompileTable(...)) after the commit.
bool NeedsWholeTable(const EdgeModel& before,
                     const protocol::EdgeDelta& accepted);

// Exactly the changes that `accepted` makes to CompileTable(before); needs the
// delta's size in time. For deltas that do not NeedsWholeTable().
nftables::Transaction CompileDelta(const EdgeModel& before,
                                   const GroupMarks& marks,
                                   const HostFacts& facts,
                                   const protocol::EdgeDelta& accepted);

// The chains whose uplinks are others now (facts.health) than under
// `previous`: one rewrite for each affected group and nothing else.
nftables::Transaction CompileHealthChange(const EdgeModel& model,
                                          const HostFacts& facts,
                                          const UplinkHealth& previous);

// False while the listener's public address is not resolved on this host.
bool IsProgrammable(const protocol::Listener& listener, const HostFacts& facts);
// Mappings that CompileTable() leaves out, sorted; cheap when all public
// addresses are resolved.
std::vector<protocol::Listener> Unprogrammable(const EdgeModel& model,
                                               const HostFacts& facts);

// The element of one mapping, and the set that it belongs to; only for a
// programmable listener. `mark` 0: the key alone.
struct MappingElement {
  nftables::Set set;
  nftables::Element element;
};
MappingElement ElementOf(const protocol::Listener& listener, uint32_t mark,
                         const HostFacts& facts);

}  // namespace edged::edge
