#include "edged/core/nft_compiler.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "edged/core/nft_access.h"
#include "edged/core/nft_chains.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Element;
using nftables::Set;
using nftables::SetWithElements;
using nftables::Transaction;
using Uplinks = std::map<std::string, protocol::Uplink>;

bool IsCarried(const protocol::Group& group, const HostFacts& facts) {
  return facts.OverlayOf(group.public_address.family()) != nullptr;
}

SetWithElements Sorted(Set set, std::vector<Element> elements) {
  std::ranges::sort(elements, {}, &Element::key);
  return {std::move(set), std::move(elements)};
}

Element PortElement(Protocol protocol, uint16_t port) {
  return {.key = nftables::Concat(
              {nftables::ToBytes(protocol), nftables::PortBytes(port)})};
}

std::vector<Element> ReservedElements(const Limits& limits) {
  std::vector<Element> elements{
      PortElement(Protocol::kUdp, limits.listen_port)};
  for (const ReservedPort& reserved : limits.reserved) {
    Element element = PortElement(reserved.protocol, reserved.port);
    if (std::ranges::find(elements, element) == elements.end()) {
      elements.push_back(std::move(element));
    }
  }
  return elements;
}

std::vector<Element> NameElements(const std::set<std::string>& names) {
  std::vector<Element> elements;
  for (const auto& name : names) {
    elements.push_back({.key = nftables::NameBytes(name)});
  }
  return elements;
}

Element GroupElement(const std::string& group, const GroupMarks& marks) {
  return {.key = nftables::MarkBytes(marks.MarkOf(group)),
          .verdict = nftables::Verdict{nftables::VerdictKind::kGoto,
                                       GroupChainName(group)}};
}

std::vector<Element> CallerElements(const Uplinks& uplinks,
                                    const HostFacts& facts) {
  const protocol::Overlay& overlay = facts.limits.overlay;
  std::vector<Element> elements{
      {.key = nftables::ToBytes(overlay.ControlAddress())}};
  for (const auto& [name, uplink] : uplinks) {
    elements.push_back(
        {.key = nftables::ToBytes(overlay.UplinkAddress(uplink.block))});
  }
  return elements;
}

std::vector<Element> BackElements(Family family, const Uplinks& uplinks,
                                  const protocol::Settings& settings,
                                  const HostFacts& facts) {
  std::vector<Element> elements;
  const protocol::Overlay* overlay = facts.OverlayOf(family);
  if (!overlay) return elements;
  for (const auto& address : settings.public_addresses) {
    const auto nic = facts.nic_addresses.find(address.address);
    if (nic == facts.nic_addresses.end() ||
        address.address.family() != family) {
      continue;
    }
    for (const auto& [name, uplink] : uplinks) {
      const IpAddress mapping =
          overlay->MappingAddress(uplink.block, address.index);
      elements.push_back({.key = nftables::ToBytes(mapping),
                          .data = nftables::ToBytes(nic->second.nic)});
    }
  }
  return elements;
}

// By name, what the chains of these groups name.
using TimeoutsByName = std::map<std::string, nftables::CtTimeout>;

void AddTimeoutsOf(const protocol::Group& group, const HostFacts& facts,
                   TimeoutsByName& timeouts) {
  if (!facts.no_timeouts.empty() || !IsCarried(group, facts)) return;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    const auto seconds = group.timeouts.Of(protocol).count();
    if (seconds == 0) continue;
    auto timeout = nftables::IdleTimeout(protocol, seconds);
    timeouts.emplace(timeout.name, std::move(timeout));
  }
}

// Elements for one set, collected to be one operation.
struct Batch {
  Set set;
  std::vector<Element> elements;
};

// The batches of a delta's mappings, beside MappingSets().
using MappingBatches = std::vector<Batch>;

MappingBatches NoMappings() {
  MappingBatches batches;
  for (Set& set : MappingSets()) batches.push_back({std::move(set), {}});
  return batches;
}

void AddMapping(const protocol::Listener& listener, uint32_t mark,
                const HostFacts& facts, MappingBatches& batches) {
  batches[MappingSetIndex(listener)].elements.push_back(
      ElementOf(listener, mark, facts));
}

void AddElements(Batch batch, Transaction& transaction) {
  if (batch.elements.empty()) return;
  transaction.Add(
      nftables::AddElements{std::move(batch.set), std::move(batch.elements)});
}

void DeleteElements(Batch batch, Transaction& transaction) {
  if (batch.elements.empty()) return;
  transaction.Add(nftables::DeleteElements{std::move(batch.set),
                                           std::move(batch.elements)});
}

// Replaces `before` by `after` in `set`, element by element.
void ReplaceElements(const Set& set, std::vector<Element> before,
                     std::vector<Element> after, Transaction& transaction) {
  std::ranges::sort(before, {}, &Element::key);
  std::ranges::sort(after, {}, &Element::key);
  Batch gone{set, {}};
  Batch fresh{set, {}};
  std::ranges::set_difference(before, after, std::back_inserter(gone.elements),
                              {}, &Element::key, &Element::key);
  std::ranges::set_difference(after, before, std::back_inserter(fresh.elements),
                              {}, &Element::key, &Element::key);
  DeleteElements(std::move(gone), transaction);
  AddElements(std::move(fresh), transaction);
}

// One delta against one model.
class DeltaCompiler {
 public:
  DeltaCompiler(const EdgeModel& before, const GroupMarks& marks,
                const HostFacts& facts, const protocol::EdgeDelta& accepted)
      : before_(before),
        marks_(marks),
        facts_(facts),
        accepted_(accepted),
        settings_(accepted.settings ? *accepted.settings : before.settings()) {}

  Transaction Run() {
    uplinks_after_ = before_.uplinks();
    for (const auto& name : accepted_.removed_uplinks) {
      uplinks_after_.erase(name);
    }
    for (const auto& uplink : accepted_.uplinks) {
      uplinks_after_[uplink.name] = uplink;
    }
    ChangeUplinks();
    const TimeoutsByName gone = AddTimeouts();
    ChangeGroups();
    ChangeMappings();
    RemoveGroups();
    RemoveAccessOfGroups();
    for (const auto& [name, timeout] : gone) {
      transaction_.Add(nftables::DeleteTimeout{name});
    }
    return std::move(transaction_);
  }

 private:
  void ChangeUplinks();
  TimeoutsByName AddTimeouts();
  void ChangeGroups();
  void ChangeMappings();
  void RemoveGroups();
  void RemoveAccessOfGroups();
  const protocol::Group* GroupBefore(const std::string& name) const {
    const auto found = before_.groups().find(name);
    return found == before_.groups().end() ? nullptr : &found->second;
  }
  nftables::Chain ChainOf(const protocol::Group& group) const {
    return GroupChain(group, uplinks_after_, settings_, facts_);
  }

  const EdgeModel& before_;
  const GroupMarks& marks_;
  const HostFacts& facts_;
  const protocol::EdgeDelta& accepted_;
  const protocol::Settings& settings_;
  Uplinks uplinks_after_;
  Transaction transaction_{kTable};
};

void DeltaCompiler::ChangeUplinks() {
  if (uplinks_after_ == before_.uplinks()) return;
  ReplaceElements(CallersSet(), CallerElements(before_.uplinks(), facts_),
                  CallerElements(uplinks_after_, facts_), transaction_);
  for (const Family family : facts_.families()) {
    ReplaceElements(BackSet(family),
                    BackElements(family, before_.uplinks(), settings_, facts_),
                    BackElements(family, uplinks_after_, settings_, facts_),
                    transaction_);
  }
}

// Adds the objects that chains will name; returns those that none will. A chain
// that refuses everybody names none, but its group does.
TimeoutsByName DeltaCompiler::AddTimeouts() {
  TimeoutsByName before, after;
  if (accepted_.groups.empty() && accepted_.removed_groups.empty()) return {};
  std::map<std::string, const protocol::Group*> groups;
  for (const auto& [name, group] : before_.groups()) {
    AddTimeoutsOf(group, facts_, before);
    groups[name] = &group;
  }
  for (const auto& name : accepted_.removed_groups) groups.erase(name);
  for (const auto& group : accepted_.groups) groups[group.name] = &group;
  for (const auto& [name, group] : groups) AddTimeoutsOf(*group, facts_, after);
  for (const auto& [name, timeout] : after) {
    if (!before.contains(name)) {
      transaction_.Add(nftables::AddTimeout{timeout});
    }
    before.erase(name);
  }
  return before;
}

// A chain changes with its group, and with the blocks of its uplinks. What it
// was is not compared: it may have been compiled under another health.
void DeltaCompiler::ChangeGroups() {
  Batch fresh{GroupsSet(), {}};
  std::set<std::string> done(accepted_.removed_groups.begin(),
                             accepted_.removed_groups.end());
  for (const auto& group : accepted_.groups) {
    done.insert(group.name);
    if (!IsCarried(group, facts_)) continue;
    const protocol::Group* before = GroupBefore(group.name);
    AddAccess(before, group, marks_, transaction_);
    if (before != nullptr) {
      transaction_.ReplaceRules(ChainOf(group));
      continue;
    }
    transaction_.AddChainWithRules(ChainOf(group));
    fresh.elements.push_back(GroupElement(group.name, marks_));
  }
  AddElements(std::move(fresh), transaction_);

  std::set<std::string> moved;
  for (const auto& uplink : accepted_.uplinks) {
    const auto old = before_.uplinks().find(uplink.name);
    if (old != before_.uplinks().end() && old->second.block != uplink.block) {
      moved.insert(uplink.name);
    }
  }
  if (moved.empty()) return;
  for (const auto& [name, group] : before_.groups()) {
    const bool concerned = std::ranges::any_of(
        group.uplinks,
        [&](const std::string& uplink) { return moved.contains(uplink); });
    if (concerned && !done.contains(name) && IsCarried(group, facts_)) {
      transaction_.ReplaceRules(ChainOf(group));
    }
  }
}

// The data of an element cannot be changed: it is deleted and added in one
// batch, and no packet sees it missing.
void DeltaCompiler::ChangeMappings() {
  MappingBatches gone = NoMappings();
  MappingBatches fresh = gone;
  if (!accepted_.mappings.empty()) {
    fresh[MappingSetIndex(accepted_.mappings.front().listener)]
        .elements.reserve(accepted_.mappings.size());
  }
  for (const auto& listener : accepted_.removed_mappings) {
    const protocol::Group* group = before_.FindMapping(listener);
    if (group && IsProgrammable(listener, facts_)) {
      AddMapping(listener, marks_.MarkOf(group->name), facts_, gone);
    }
  }
  for (const auto& mapping : accepted_.mappings) {
    if (!IsProgrammable(mapping.listener, facts_)) continue;
    if (const auto* old = before_.FindMapping(mapping.listener)) {
      AddMapping(mapping.listener, marks_.MarkOf(old->name), facts_, gone);
    }
    AddMapping(mapping.listener, marks_.MarkOf(mapping.group), facts_, fresh);
  }
  for (Batch& batch : gone) DeleteElements(std::move(batch), transaction_);
  for (Batch& batch : fresh) AddElements(std::move(batch), transaction_);
}

void DeltaCompiler::RemoveGroups() {
  Batch gone{GroupsSet(), {}};
  std::vector<std::string> chains;
  for (const auto& name : accepted_.removed_groups) {
    const auto group = before_.groups().find(name);
    if (group == before_.groups().end() || !IsCarried(group->second, facts_)) {
      continue;
    }
    gone.elements.push_back(GroupElement(name, marks_));
    chains.push_back(GroupChainName(name));
  }
  DeleteElements(std::move(gone), transaction_);
  for (auto& chain : chains) {
    transaction_.Add(nftables::FlushChain{chain});
    transaction_.Add(nftables::DeleteChain{std::move(chain)});
  }
}

void DeltaCompiler::RemoveAccessOfGroups() {
  const auto remove = [this](const std::string& name,
                             const protocol::Group* after) {
    const protocol::Group* before = GroupBefore(name);
    if (before == nullptr || !IsCarried(*before, facts_)) return;
    RemoveAccess(*before, after, marks_, transaction_);
  };
  for (const auto& group : accepted_.groups) remove(group.name, &group);
  for (const auto& name : accepted_.removed_groups) remove(name, nullptr);
}

}  // namespace

std::vector<Set> MappingSets() {
  return {PortsSet(Family::kIpv4), RangesSet(Family::kIpv4),
          PortsSet(Family::kIpv6), RangesSet(Family::kIpv6)};
}

size_t MappingSetIndex(const protocol::Listener& listener) {
  return (listener.public_address.is_ipv4() ? 0 : 2) +
         (listener.ports.is_single() ? 0 : 1);
}

Element ElementOf(const protocol::Listener& listener, uint32_t mark,
                  const HostFacts& facts) {
  const auto address =
      nftables::ToBytes(facts.nic_addresses.at(listener.public_address).nic);
  const auto protocol = nftables::ToBytes(listener.protocol);
  const PortRange& ports = listener.ports;
  Element element{.key = nftables::Concat(
                      {address, protocol, nftables::PortBytes(ports.first)}),
                  .data = nftables::MarkBytes(mark)};
  if (!ports.is_single()) {
    element.key_end =
        nftables::Concat({address, protocol, nftables::PortBytes(ports.last)});
  }
  return element;
}

bool IsProgrammable(const protocol::Listener& listener,
                    const HostFacts& facts) {
  return facts.OverlayOf(listener.public_address.family()) != nullptr &&
         facts.nic_addresses.contains(listener.public_address);
}

std::vector<protocol::Listener> Unprogrammable(const EdgeModel& model,
                                               const HostFacts& facts) {
  std::vector<protocol::Listener> listeners;
  const bool all_resolved = std::ranges::all_of(
      model.settings().public_addresses, [&](const auto& address) {
        return facts.nic_addresses.contains(address.address);
      });
  if (all_resolved) return listeners;
  model.ForEachMapping([&](const protocol::Listener& listener, const auto&) {
    if (!IsProgrammable(listener, facts)) listeners.push_back(listener);
  });
  return listeners;
}

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

bool NeedsWholeTable(const EdgeModel& before,
                     const protocol::EdgeDelta& accepted) {
  const auto& settings = accepted.settings;
  return settings &&
         (settings->mtu != before.settings().mtu ||
          settings->public_addresses != before.settings().public_addresses ||
          settings->network6 != before.settings().network6);
}

Transaction CompileDelta(const EdgeModel& before, const GroupMarks& marks,
                         const HostFacts& facts,
                         const protocol::EdgeDelta& accepted) {
  return DeltaCompiler(before, marks, facts, accepted).Run();
}

Transaction CompileHealthChange(const EdgeModel& model, const HostFacts& facts,
                                const UplinkHealth& previous) {
  Transaction transaction(kTable);
  for (const auto& [name, group] : model.groups()) {
    if (!IsCarried(group, facts) ||
        ServingOf(group, facts.health) == ServingOf(group, previous)) {
      continue;
    }
    transaction.ReplaceRules(
        GroupChain(group, model.uplinks(), model.settings(), facts));
  }
  return transaction;
}

}  // namespace edged::edge
