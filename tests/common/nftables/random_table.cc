#include "tests/common/nftables/random_table.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

class Maker {
 public:
  explicit Maker(std::mt19937& random) : random_(random) {}

  Table Make() {
    table_ = EdgeTable();
    std::erase_if(table_.chains,
                  [](const Chain& chain) { return chain.name == "group-1"; });
    ChangeSets();
    AddGroups();
    ChangeChains();
    AddSpareChain();
    if (OneIn(4)) DropGroups();
    return std::move(table_);
  }

 private:
  bool OneIn(int many) { return random_() % many == 0; }

  SetWithElements& SetOf(const std::string& name) {
    for (SetWithElements& set : table_.sets) {
      if (set.set.name == name) return set;
    }
    std::abort();
  }

  void ChangeSets() {
    for (SetWithElements& set : table_.sets) {
      std::erase_if(set.elements, [this](const Element&) { return OneIn(2); });
      for (Element& element : set.elements) {
        if (set.set.data == std::vector{Type::kMark} && OneIn(3)) {
          element.data = MarkBytes(random_() % 3);
        }
      }
      if (OneIn(4)) set.set.counter = !set.set.counter;
    }
  }

  // Chains that the verdict map goes to.
  void AddGroups() {
    auto& elements = SetOf("groups").elements;
    elements.clear();
    for (uint32_t number = 1; number <= 4; ++number) {
      if (OneIn(3)) continue;
      const std::string name = fmt::format("group-{}", number);
      const NatTo target{
          NatKind::kDnat, Address("10.200.0.0").Plus(random_() % 3 + 1), {}};
      table_.chains.push_back({name, {}, {{{Counter{}}}, {{target}}}});
      const uint32_t mark = OneIn(3) ? number + 8 : number;
      elements.push_back(
          {MarkBytes(mark), {}, {}, Verdict{VerdictKind::kGoto, name}});
    }
  }

  void ChangeChains() {
    for (Chain& chain : table_.chains) {
      std::erase_if(chain.rules, [this](const Rule&) { return OneIn(4); });
      const bool filter = chain.hook && chain.hook->type == ChainType::kFilter;
      if (filter && OneIn(4)) chain.hook->priority += 5;
    }
  }

  // Now a base chain, now one that others jump to.
  void AddSpareChain() {
    if (OneIn(3)) return;
    Chain spare{"spare", {}, {{{Counter{}}}}};
    if (OneIn(2)) {
      spare.hook = Hook{ChainType::kFilter, HookPoint::kInput, 7};
    } else {
      table_.chains.back().rules.insert(
          table_.chains.back().rules.begin(),
          Rule{{Verdict{VerdictKind::kJump, "spare"}}});
      SetOf("groups").elements.push_back(
          {MarkBytes(99), {}, {}, Verdict{VerdictKind::kJump, "spare"}});
    }
    table_.chains.push_back(spare);
  }

  void DropGroups() {
    std::erase_if(table_.sets, [](const SetWithElements& set) {
      return set.set.name == "groups";
    });
    for (Chain& chain : table_.chains) {
      std::erase_if(chain.rules, [](const Rule& rule) {
        return std::holds_alternative<VerdictMap>(rule.statements.back());
      });
    }
  }

  std::mt19937& random_;
  Table table_;
};

}  // namespace

Table RandomTable(std::mt19937& random) { return Maker(random).Make(); }

}  // namespace edged::nftables
