#include "common/nftables/diff.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace edged::nftables {
namespace {

const Bytes& LastKey(const Element& element) {
  return element.key_end.empty() ? element.key : element.key_end;
}

bool KeyLess(const Element& left, const Element& right) {
  if (left.key != right.key) return left.key < right.key;
  return LastKey(left) < LastKey(right);
}

bool SameValue(const Element& left, const Element& right) {
  return left.data == right.data && left.verdict == right.verdict;
}

// Points into `elements`, sorted by key, each key once.
std::vector<const Element*> Sorted(const std::vector<Element>& elements) {
  std::vector<const Element*> sorted;
  sorted.reserve(elements.size());
  for (const Element& element : elements) sorted.push_back(&element);
  const auto less = [](const Element* left, const Element* right) {
    return KeyLess(*left, *right);
  };
  if (!std::ranges::is_sorted(sorted, less)) {
    std::ranges::stable_sort(sorted, less);
  }
  // Not std::ranges::unique: clang 14 cannot compile libstdc++ 12's.
  const auto repeated =
      std::unique(sorted.begin(), sorted.end(),
                  [](const Element* left, const Element* right) {
                    return !KeyLess(*left, *right);
                  });
  sorted.erase(repeated, sorted.end());
  return sorted;
}

// The sets and chains that a rule names.
struct Uses {
  std::set<std::string_view>& names;

  void operator()(const MatchSet& match) { names.insert(match.set); }
  void operator()(const VerdictMap& map) { names.insert(map.map); }
  void operator()(const SetCtMarkFromMap& map) { names.insert(map.map); }
  void operator()(const NatToMap& nat) { names.insert(nat.map); }
  template <typename Statement>
  void operator()(const Statement&) {}
};

struct UsesTimeout {
  std::set<std::string_view>& names;

  void operator()(const SetCtTimeout& set) { names.insert(set.object); }
  template <typename Statement>
  void operator()(const Statement&) {}
};

struct Jumps {
  std::set<std::string_view>& names;

  void operator()(const Verdict& verdict) {
    if (!verdict.chain.empty()) names.insert(verdict.chain);
  }
  template <typename Statement>
  void operator()(const Statement&) {}
};

template <typename Collect>
bool NamesAny(const Chain& chain, const std::set<std::string_view>& wanted) {
  if (wanted.empty()) return false;
  std::set<std::string_view> names;
  for (const Rule& rule : chain.rules) {
    for (const Statement& statement : rule.statements) {
      std::visit(Collect{names}, statement);
    }
  }
  return std::ranges::any_of(names, [&wanted](std::string_view name) {
    return wanted.contains(name);
  });
}

// Collects the parts of the transaction by kind; Finish() puts them in the one
// order that the kernel takes in a batch: what refers goes before what it
// refers to, and comes after it.
class Difference {
 public:
  Difference(const Listing& listed, const Table& wanted,
             const CanonicalText& expressions_of)
      : listed_(listed), wanted_(wanted), expressions_of_(expressions_of) {}

  Transaction Make() {
    FindRemade();
    CompareChains();
    CompareSets();
    CompareTimeouts();
    return Finish();
  }

 private:
  const ListedChain* ListedOf(const Chain& chain) const {
    const auto found = listed_.chains.find(chain.name);
    return found == listed_.chains.end() ? nullptr : &found->second;
  }

  // Sets and chains of the right name but another type.
  void FindRemade() {
    for (const SetWithElements& set : wanted_.sets) {
      const auto found = listed_.sets.find(set.set.name);
      if (found != listed_.sets.end() && found->second.set != set.set) {
        remade_sets_.insert(set.set.name);
      }
    }
    for (const Chain& chain : wanted_.chains) {
      const ListedChain* listed = ListedOf(chain);
      if (listed != nullptr && listed->hook != chain.hook) {
        remade_chains_.insert(chain.name);
      }
    }
    for (const CtTimeout& timeout : wanted_.timeouts) {
      const auto found = listed_.timeouts.find(timeout.name);
      if (found != listed_.timeouts.end() && !timeout.IsMetBy(found->second)) {
        remade_timeouts_.insert(timeout.name);
      }
    }
  }

  // What nobody uses after the flushes goes; connections that have an object
  // keep it.
  void CompareTimeouts() {
    std::set<std::string_view> kept;
    for (const CtTimeout& timeout : wanted_.timeouts) {
      const bool listed = listed_.timeouts.contains(timeout.name);
      if (listed && !remade_timeouts_.contains(timeout.name)) {
        kept.insert(timeout.name);
      } else {
        new_timeouts_.push_back(AddTimeout{timeout});
      }
    }
    for (const auto& [name, timeout] : listed_.timeouts) {
      if (!kept.contains(name)) old_timeouts_.push_back(DeleteTimeout{name});
    }
  }

  bool SameRules(const ListedChain& listed, const Chain& chain) const {
    return std::ranges::equal(
        listed.rules, chain.rules,
        [this](const ListedRule& old_rule, const Rule& rule) {
          return old_rule.expressions == expressions_of_(rule);
        });
  }

  void CompareChains() {
    std::set<std::string_view> names;
    for (const Chain& chain : wanted_.chains) {
      names.insert(chain.name);
      const ListedChain* listed = ListedOf(chain);
      if (listed == nullptr) {
        new_chains_.push_back(AddChain{{chain.name, chain.hook, {}}});
        AddRules(chain);
        continue;
      }
      CompareChain(*listed, chain);
    }
    for (const auto& [name, listed] : listed_.chains) {
      if (names.contains(name)) continue;
      if (!listed.rules.empty()) flushes_.push_back(FlushChain{name});
      old_chains_.push_back(DeleteChain{name});
    }
  }

  void CompareChain(const ListedChain& listed, const Chain& chain) {
    const bool remade = remade_chains_.contains(chain.name);
    if (remade) old_chains_.push_back(DeleteChain{chain.name});
    if (remade || !listed.policy_accept) {  // the latter is set back in place
      new_chains_.push_back(AddChain{{chain.name, chain.hook, {}}});
    }
    if (!remade && SameRules(listed, chain) &&
        !NamesAny<Uses>(chain, remade_sets_) &&
        !NamesAny<UsesTimeout>(chain, remade_timeouts_) &&
        !NamesAny<Jumps>(chain, remade_chains_)) {
      return;
    }
    if (!listed.rules.empty()) flushes_.push_back(FlushChain{chain.name});
    AddRules(chain);
  }

  void AddRules(const Chain& chain) {
    for (const Rule& rule : chain.rules) {
      new_rules_.push_back(AddRule{chain.name, rule});
    }
  }

  void CompareSets() {
    std::set<std::string_view> names;
    for (const SetWithElements& set : wanted_.sets) {
      names.insert(set.set.name);
      const auto found = listed_.sets.find(set.set.name);
      if (found != listed_.sets.end() && found->second.set == set.set) {
        CompareElements(found->second, set);
        continue;
      }
      if (found != listed_.sets.end()) Remove(found->second);
      new_sets_.push_back(AddSet{set.set});
      if (!set.elements.empty()) {
        new_elements_.push_back(AddElements{set.set, set.elements});
      }
    }
    for (const auto& [name, listed] : listed_.sets) {
      if (!names.contains(name)) Remove(listed);
    }
  }

  // Kernels before 6.5 count a verdict map's elements as users of their chains
  // until the batch is over, if the map is deleted with them inside.
  void Remove(const SetWithElements& listed) {
    const bool map = !listed.set.data.empty();
    const bool verdicts = map && listed.set.data[0] == Type::kVerdict;
    if (verdicts && !listed.elements.empty()) {
      old_elements_.push_back(FlushSet{listed.set.name, map});
    }
    old_sets_.push_back(DeleteSet{listed.set.name, map});
  }

  bool GoesToRemade(const Element& element) const {
    return element.verdict && remade_chains_.contains(element.verdict->chain);
  }

  void CompareElements(const SetWithElements& listed,
                       const SetWithElements& set) {
    std::vector<Element> removed, added;
    const auto old_sorted = Sorted(listed.elements);
    const auto new_sorted = Sorted(set.elements);
    auto old_element = old_sorted.begin();
    auto new_element = new_sorted.begin();
    while (old_element != old_sorted.end() || new_element != new_sorted.end()) {
      if (new_element == new_sorted.end() ||
          (old_element != old_sorted.end() &&
           KeyLess(**old_element, **new_element))) {
        removed.push_back(**old_element++);
      } else if (old_element == old_sorted.end() ||
                 KeyLess(**new_element, **old_element)) {
        added.push_back(**new_element++);
      } else {
        if (!SameValue(**old_element, **new_element) ||
            GoesToRemade(**old_element)) {
          removed.push_back(**old_element);
          added.push_back(**new_element);
        }
        ++old_element;
        ++new_element;
      }
    }
    if (!removed.empty()) {
      old_elements_.push_back(DeleteElements{set.set, std::move(removed)});
    }
    if (!added.empty()) {
      new_elements_.push_back(AddElements{set.set, std::move(added)});
    }
  }

  Transaction Finish() {
    Transaction transaction(wanted_.name);
    if (!listed_.exists || listed_.dormant) transaction.Add(AddTable{});
    for (auto* part : {&flushes_, &old_elements_, &old_sets_, &old_chains_,
                       &old_timeouts_, &new_timeouts_, &new_sets_, &new_chains_,
                       &new_elements_, &new_rules_}) {
      for (Operation& operation : *part) transaction.Add(std::move(operation));
    }
    return transaction;
  }

  const Listing& listed_;
  const Table& wanted_;
  const CanonicalText& expressions_of_;

  std::set<std::string_view> remade_sets_;
  std::set<std::string_view> remade_chains_;
  std::set<std::string_view> remade_timeouts_;

  std::vector<Operation> flushes_;
  std::vector<Operation> old_elements_;
  std::vector<Operation> old_sets_;
  std::vector<Operation> old_chains_;
  std::vector<Operation> old_timeouts_;
  std::vector<Operation> new_timeouts_;
  std::vector<Operation> new_sets_;
  std::vector<Operation> new_chains_;
  std::vector<Operation> new_elements_;
  std::vector<Operation> new_rules_;
};

}  // namespace

Transaction Diff(const Listing& listed, const Table& wanted,
                 const CanonicalText& expressions_of) {
  return Difference(listed, wanted, expressions_of).Make();
}

}  // namespace edged::nftables
