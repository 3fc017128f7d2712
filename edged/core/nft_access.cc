#include "edged/core/nft_access.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/nftables/values.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Bytes;
using nftables::Chain;
using nftables::Element;
using nftables::Field;
using nftables::MatchSet;
using nftables::Rule;
using nftables::Set;
using nftables::SetWithElements;
using nftables::Transaction;
using nftables::Verdict;
using nftables::VerdictKind;

// The last address of a network.
Bytes LastOf(const IpPrefix& prefix) {
  Bytes bytes = nftables::ToBytes(prefix.address());
  const Bytes mask = nftables::MaskOf(prefix);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] |= static_cast<uint8_t>(~mask[i]);
  }
  return bytes;
}

// A set of ranges takes none twice. Prefixes overlap only where one lies in the
// other, and sorted a larger one stands before those that lie in it.
std::vector<Element> RangesOf(std::vector<IpPrefix> prefixes, Family family) {
  std::ranges::sort(prefixes);
  std::vector<Element> elements;
  const IpPrefix* last = nullptr;
  for (const IpPrefix& prefix : prefixes) {
    if (prefix.family() != family) continue;
    if (last != nullptr && last->Contains(prefix)) continue;
    last = &prefix;
    Element& element = elements.emplace_back();
    element.key = nftables::ToBytes(prefix.address());
    element.key_end = LastOf(prefix);
    if (element.key_end == element.key) element.key_end.clear();
  }
  return elements;
}

const SetWithElements* Find(const std::vector<SetWithElements>& sets,
                            const Set& wanted) {
  const auto found = std::ranges::find(sets, wanted, &SetWithElements::set);
  return found == sets.end() ? nullptr : &*found;
}

// Elements of `from` that `without` does not have.
std::vector<Element> Rest(const SetWithElements& from,
                          const SetWithElements* without) {
  if (without == nullptr) return from.elements;
  std::vector<Element> rest;
  std::ranges::copy_if(from.elements, std::back_inserter(rest),
                       [without](const Element& element) {
                         return std::ranges::find(without->elements, element) ==
                                without->elements.end();
                       });
  return rest;
}

std::vector<SetWithElements> SetsOf(const protocol::Group* group) {
  return group ? AccessSets(*group) : std::vector<SetWithElements>();
}

}  // namespace

std::vector<SetWithElements> AccessSets(const protocol::Group& group) {
  const Family family = group.public_address.family();
  const protocol::Access& access = group.access;
  std::vector<SetWithElements> sets;
  if (!access.allow.empty()) {
    sets.push_back({AllowSet(group), RangesOf(access.allow, family)});
  }
  if (!access.deny.empty()) {
    sets.push_back({DenySet(group), RangesOf(access.deny, family)});
  }
  return sets;
}

std::vector<Rule> AccessRules(const protocol::Group& group, Field client) {
  std::vector<Rule> rules;
  const Verdict drop{VerdictKind::kDrop};
  if (!group.access.allow.empty()) {
    rules.push_back(
        {{MatchSet{
              .key = {client}, .set = AllowSet(group).name, .negate = true},
          drop}});
  }
  if (!group.access.deny.empty()) {
    rules.push_back({{MatchSet{{client}, DenySet(group).name}, drop}});
  }
  return rules;
}

Chain ClientsChain(const protocol::Group& group) {
  const Field client = NamesOf(group.public_address.family()).destination;
  Chain chain{.name = ClientsChainName(group.name),
              .rules = AccessRules(group, client)};
  chain.rules.push_back({{Verdict{VerdictKind::kAccept}}});
  return chain;
}

Element ClientsElement(const protocol::Group& group, const GroupMarks& marks) {
  return {.key = nftables::MarkBytes(marks.MarkOf(group.name)),
          .verdict = Verdict{VerdictKind::kGoto, ClientsChainName(group.name)}};
}

void AddAccess(const protocol::Group* before, const protocol::Group& after,
               const GroupMarks& marks, Transaction& transaction) {
  const std::vector<SetWithElements> old_sets = SetsOf(before);
  for (const SetWithElements& set : AccessSets(after)) {
    const SetWithElements* old = Find(old_sets, set.set);
    if (old == nullptr) transaction.Add(nftables::AddSet{set.set});
    // Removed first: a new range may cross an old one.
    if (old != nullptr) {
      if (auto gone = Rest(*old, &set); !gone.empty()) {
        transaction.Add(nftables::DeleteElements{set.set, std::move(gone)});
      }
    }
    if (auto fresh = Rest(set, old); !fresh.empty()) {
      transaction.Add(nftables::AddElements{set.set, std::move(fresh)});
    }
  }
  if (after.access.empty()) return;
  if (before == nullptr || before->access.empty()) {
    transaction.AddChainWithRules(ClientsChain(after));
    transaction.Add(
        nftables::AddElements{ClientsSet(), {ClientsElement(after, marks)}});
  } else if (AccessRules(*before, Field::kIpDaddr) !=
             AccessRules(after, Field::kIpDaddr)) {
    transaction.ReplaceRules(ClientsChain(after));
  }
}

void RemoveAccess(const protocol::Group& before, const protocol::Group* after,
                  const GroupMarks& marks, Transaction& transaction) {
  if (before.access.empty()) return;
  if (after == nullptr || after->access.empty()) {
    transaction.Add(nftables::DeleteElements{ClientsSet(),
                                             {ClientsElement(before, marks)}});
    transaction.Add(nftables::FlushChain{ClientsChainName(before.name)});
    transaction.Add(nftables::DeleteChain{ClientsChainName(before.name)});
  }
  const std::vector<SetWithElements> new_sets = SetsOf(after);
  for (const SetWithElements& set : AccessSets(before)) {
    if (Find(new_sets, set.set) != nullptr) continue;
    transaction.Add(nftables::DeleteSet{set.set.name});
  }
}

}  // namespace edged::edge
