#pragma once

#include <vector>

#include "common/nftables/ruleset.h"
#include "common/nftables/transaction.h"
#include "common/protocol/records.h"
#include "edged/core/group_marks.h"

// Which clients a group admits, as objects of table `inet edged`. Whoever is
// not admitted is dropped without an answer, in the group's chain, and on the
// way back, by which an uplink could begin a flow anew. Pure.

namespace edged::edge {

// The group's sets of ranges, with the prefixes of its address's family that
// lie in no other one. None for a group that admits everybody.
std::vector<nftables::SetWithElements> AccessSets(const protocol::Group& group);

// Drops packets whose `client`, `ip saddr` or `ip daddr`, is not admitted.
std::vector<nftables::Rule> AccessRules(const protocol::Group& group,
                                        nftables::Field client);

// For packets to clients of a group that does not admit everybody: its chain,
// and the element of ClientsSet() that leads there.
nftables::Chain ClientsChain(const protocol::Group& group);
nftables::Element ClientsElement(const protocol::Group& group,
                                 const GroupMarks& marks);

// What turns one group's objects into another's; nullptr: there is none. What
// chains are to name comes before them, what they name no more after them.
void AddAccess(const protocol::Group* before, const protocol::Group& after,
               const GroupMarks& marks, nftables::Transaction& transaction);
void RemoveAccess(const protocol::Group& before, const protocol::Group* after,
                  const GroupMarks& marks, nftables::Transaction& transaction);

}  // namespace edged::edge
