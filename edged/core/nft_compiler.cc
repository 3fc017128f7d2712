#include "edged/core/nft_compiler.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "edged/core/nft_access.h"
#include "edged/core/nft_chains.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Element;
using nftables::Set;
using nftables::SetWithElements;

SetWithElements Sorted(Set set, std::vector<Element> elements) {
  std::ranges::sort(elements, {}, &Element::key);
  return {std::move(set), std::move(elements)};
}

}  // namespace

nftables::Table CompileTable(const EdgeModel& model, const GroupMarks& marks,
                             const HostFacts& facts) {
  MappingBatches mappings = NoMappings();
  mappings[0].elements.reserve(model.mapping_count());
  model.ForEachMapping(
      [&](const protocol::Listener& listener, const protocol::Group& group) {
        if (IsProgrammable(listener, facts)) {
          AddMapping(listener, marks.MarkOf(group.name), facts, mappings);
        }
      });
  nftables::Table table{.name = kTable};
  std::vector<Element> groups;
  std::vector<Element> clients;
  std::vector<SetWithElements> access;
  table.chains = FixedChains(facts);
  TimeoutsByName timeouts;
  for (const auto& [name, group] : model.groups()) {
    if (!IsCarried(group, facts)) continue;
    AddTimeoutsOf(group, facts, timeouts);
    table.chains.push_back(
        GroupChain(group, model.uplinks(), model.settings(), facts));
    groups.push_back(GroupElement(name, marks));
    if (group.access.empty()) continue;
    std::ranges::move(AccessSets(group), std::back_inserter(access));
    table.chains.push_back(ClientsChain(group));
    clients.push_back(ClientsElement(group, marks));
  }
  for (Batch& batch : mappings) {
    table.sets.push_back(
        Sorted(std::move(batch.set), std::move(batch.elements)));
  }
  const auto add = [&table](Set set, std::vector<Element> elements) {
    table.sets.push_back(Sorted(std::move(set), std::move(elements)));
  };
  add(GroupsSet(), std::move(groups));
  add(ClientsSet(), std::move(clients));
  std::ranges::move(access, std::back_inserter(table.sets));
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    add(BackSet(family),
        BackElements(family, model.uplinks(), model.settings(), facts));
  }
  add(CallersSet(), CallerElements(model.uplinks(), facts));
  add(ReservedSet(), ReservedElements(facts.limits));
  add(ServicesSet(), {PortElement(Protocol::kTcp, protocol::kApiPort),
                      PortElement(Protocol::kUdp, protocol::kApiPort)});
  add(SwitchedSet(Family::kIpv4), NameElements(facts.switched_interfaces));
  add(SwitchedSet(Family::kIpv6), NameElements(facts.ipv6.switched_interfaces));
  for (auto& [name, timeout] : timeouts) {
    table.timeouts.push_back(std::move(timeout));
  }
  return table;
}

}  // namespace edged::edge
