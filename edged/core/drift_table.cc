#include "edged/core/drift_table.h"

#include <algorithm>
#include <utility>

#include "edged/core/nft_compiler.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"

namespace edged::edge {
namespace {

using nftables::Chain;
using nftables::Element;
using nftables::Set;
using nftables::SetWithElements;
using nftables::Table;
using nftables::Transaction;

bool SameKey(const Element& a, const Element& b) {
  return a.key == b.key && a.key_end == b.key_end;
}

const Element* FindKey(const std::vector<Element>& elements,
                       const Element& key) {
  const auto found = std::ranges::find_if(
      elements,
      [&key](const Element& element) { return SameKey(element, key); });
  return found == elements.end() ? nullptr : &*found;
}

// Everything but the mappings.
Table CompileWithoutMappings(const EdgeModel& model, const GroupMarks& marks,
                             const HostFacts& facts) {
  protocol::EdgeDelta rest{.settings = model.settings()};
  for (const auto& [name, uplink] : model.uplinks()) {
    rest.uplinks.push_back(uplink);
  }
  for (const auto& [name, group] : model.groups()) rest.groups.push_back(group);
  EdgeModel without;
  without.Commit(rest);
  return CompileTable(without, marks, facts);
}

bool HoldsMappings(const Set& set) {
  return std::ranges::any_of(MappingSets(), [&set](const Set& other) {
    return other.name == set.name;
  });
}

// What a set of mappings should have at exactly this key.
std::optional<Element> WantedMapping(const Element& key, const EdgeModel& model,
                                     const GroupMarks& marks,
                                     const HostFacts& facts) {
  const auto listener = Readback(marks, facts).ListenerOf(key);
  if (!listener.ok() || !IsProgrammable(*listener, facts)) return std::nullopt;
  const protocol::Group* group = model.FindMapping(*listener);
  if (!group) return std::nullopt;
  return ElementOf(*listener, marks.MarkOf(group->name), facts);
}

std::vector<Element> KeysOf(const std::vector<Element>& elements) {
  std::vector<Element> keys;
  for (const Element& element : elements) {
    if (FindKey(keys, element)) continue;
    Element& key = keys.emplace_back();
    key.key = element.key;
    key.key_end = element.key_end;
  }
  return keys;
}

}  // namespace

std::optional<PartialRepair> PlanPartialRepair(const EdgeModel& model,
                                               const GroupMarks& marks,
                                               const HostFacts& facts,
                                               const TableDamage& damage) {
  if (damage.whole()) return std::nullopt;
  const Table table = CompileWithoutMappings(model, marks, facts);
  PartialRepair repair;
  for (const std::string& name : damage.chains()) {
    const auto chain = std::ranges::find(table.chains, name, &Chain::name);
    if (chain == table.chains.end()) return std::nullopt;
    repair.chains.push_back(*chain);
  }
  for (const auto& [name, touched] : damage.elements()) {
    const auto set = std::ranges::find(
        table.sets, name,
        [](const SetWithElements& whole) { return whole.set.name; });
    if (set == table.sets.end()) return std::nullopt;
    DamagedElements& part = repair.elements.emplace_back();
    part.set = set->set;
    part.keys = KeysOf(touched);
    for (const Element& key : part.keys) {
      if (HoldsMappings(part.set)) {
        auto wanted = WantedMapping(key, model, marks, facts);
        if (wanted) part.wanted.push_back(*std::move(wanted));
      } else if (const Element* wanted = FindKey(set->elements, key)) {
        part.wanted.push_back(*wanted);
      }
    }
  }
  return repair;
}

// Deletions first: what was added may stand where something belongs.
Transaction CompileRepair(const PartialRepair& repair,
                          const std::vector<std::vector<Element>>& found) {
  Transaction transaction(kTable);
  for (size_t i = 0; i < repair.elements.size(); ++i) {
    const DamagedElements& part = repair.elements[i];
    std::vector<Element> wrong;
    for (const Element& element : found[i]) {
      const Element* wanted = FindKey(part.wanted, element);
      if (!wanted || *wanted != element) wrong.push_back(element);
    }
    if (!wrong.empty()) {
      transaction.Add(nftables::DeleteElements{part.set, std::move(wrong)});
    }
  }
  for (size_t i = 0; i < repair.elements.size(); ++i) {
    const DamagedElements& part = repair.elements[i];
    std::vector<Element> missing;
    for (const Element& wanted : part.wanted) {
      const Element* there = FindKey(found[i], wanted);
      if (!there || *there != wanted) missing.push_back(wanted);
    }
    if (!missing.empty()) {
      transaction.Add(nftables::AddElements{part.set, std::move(missing)});
    }
  }
  for (const Chain& chain : repair.chains) transaction.ReplaceRules(chain);
  return transaction;
}

}  // namespace edged::edge
