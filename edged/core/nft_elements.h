#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/nftables/ruleset.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"

// What the sets of table `inet edged` hold, and its ct timeouts. Pure; every
// group has its mark in `marks`.

namespace edged::edge {

using Uplinks = std::map<std::string, protocol::Uplink>;

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

// Elements for one set, collected to be one operation.
struct Batch {
  nftables::Set set;
  std::vector<nftables::Element> elements;
};
// Those of mappings, beside MappingSets().
using MappingBatches = std::vector<Batch>;
MappingBatches NoMappings();
void AddMapping(const protocol::Listener& listener, uint32_t mark,
                const HostFacts& facts, MappingBatches& batches);

// False for a group of IPv6 where that is not carried: it has no chain.
bool IsCarried(const protocol::Group& group, const HostFacts& facts);
// Of GroupsSet().
nftables::Element GroupElement(const std::string& group,
                               const GroupMarks& marks);
// Of CallersSet(): the agents.
std::vector<nftables::Element> CallerElements(const Uplinks& uplinks,
                                              const HostFacts& facts);
// Of BackSet(family).
std::vector<nftables::Element> BackElements(Family family,
                                            const Uplinks& uplinks,
                                            const protocol::Settings& settings,
                                            const HostFacts& facts);
// Of ReservedSet(), and of sets of ports and of interfaces at large.
std::vector<nftables::Element> ReservedElements(const Limits& limits);
nftables::Element PortElement(Protocol protocol, uint16_t port);
std::vector<nftables::Element> NameElements(const std::set<std::string>& names);

// By name, what the chains of these groups name.
using TimeoutsByName = std::map<std::string, nftables::CtTimeout>;
void AddTimeoutsOf(const protocol::Group& group, const HostFacts& facts,
                   TimeoutsByName& timeouts);

}  // namespace edged::edge
