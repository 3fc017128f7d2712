#include "edged/core/nft_delta.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "edged/core/nft_access.h"
#include "edged/core/nft_chains.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Element;
using nftables::Set;
using nftables::Transaction;

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
