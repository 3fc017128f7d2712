#include "tests/fakes/fake_nftables_client.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "common/nftables/print.h"
#include "common/nftables/values.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

std::pair<Bytes, Bytes> KeyOf(const Element& element) {
  return {element.key, element.key_end.empty() ? element.key : element.key_end};
}

// Whether two elements of an interval set share a key.
bool Overlap(const Set& set, const Element& left, const Element& right) {
  const auto [left_first, left_last] = KeyOf(left);
  const auto [right_first, right_last] = KeyOf(right);
  size_t offset = 0;
  for (const Type type : set.key) {
    const auto less = [&](const Bytes& a, const Bytes& b) {
      const Bytes first(a.begin() + offset, a.begin() + offset + SizeOf(type));
      const Bytes second(b.begin() + offset, b.begin() + offset + SizeOf(type));
      if (!IsHostOrder(type)) return first < second;
      return std::lexicographical_compare(first.rbegin(), first.rend(),
                                          second.rbegin(), second.rend());
    };
    if (less(left_last, right_first) || less(right_last, left_first)) {
      return false;
    }
    offset += (SizeOf(type) + 3) / 4 * 4;
  }
  return true;
}

// Where the kernel lets a statement run; nothing: everywhere.
bool RunsAt(const Statement& statement, const Hook& hook) {
  const auto at = [&hook](HookPoint one, HookPoint other) {
    return hook.type == ChainType::kNat &&
           (hook.point == one || hook.point == other);
  };
  const auto translates = [&at](NatKind kind) {
    return kind == NatKind::kDnat
               ? at(HookPoint::kPrerouting, HookPoint::kOutput)
               : at(HookPoint::kPostrouting, HookPoint::kInput);
  };
  if (const auto* nat = std::get_if<NatTo>(&statement)) {
    return translates(nat->kind);
  }
  if (const auto* nat = std::get_if<NatToMap>(&statement)) {
    return translates(nat->kind);
  }
  if (std::holds_alternative<NatByHash>(statement)) {
    return translates(NatKind::kDnat);
  }
  if (std::holds_alternative<Masquerade>(statement)) {
    return at(HookPoint::kPostrouting, HookPoint::kPostrouting);
  }
  if (std::holds_alternative<Reject>(statement)) {
    return hook.point != HookPoint::kPostrouting;
  }
  return true;
}

}  // namespace

// Works on a copy of the table; each operation returns an errno, 0 is fine.
class FakeClient::Batch {
 public:
  Batch(std::optional<FakeTable> table, uint64_t& next_handle)
      : table_(std::move(table)), next_handle_(next_handle) {}

  std::optional<FakeTable>& table() { return table_; }

  int Run(const Operation& operation) {
    if (std::holds_alternative<AddTable>(operation)) {
      if (!table_) table_.emplace();
      return 0;
    }
    if (!table_) return ENOENT;
    return std::visit([this](const auto& part) { return Do(part); }, operation);
  }

  // What the kernel checks when all is in place: loops, and that every
  // statement is reached from hooks only where it can run.
  int Validate() {
    if (!table_) return 0;
    for (const auto& [name, chain] : table_->chains) {
      std::set<std::string> path;
      if (const int error = Visit(name, chain.hook, path)) return error;
    }
    return 0;
  }

 private:
  FakeSet* FindSet(const std::string& name) {
    const auto found = table_->sets.find(name);
    return found == table_->sets.end() ? nullptr : &found->second;
  }
  FakeChain* FindChain(const std::string& name) {
    const auto found = table_->chains.find(name);
    return found == table_->chains.end() ? nullptr : &found->second;
  }

  int Do(const AddTable&) { return 0; }
  int Do(const DeleteTable&) {
    table_.reset();
    return 0;
  }

  int Do(const AddSet& add) {
    if (FakeSet* old = FindSet(add.set.name)) {
      return old->set == add.set ? 0 : EEXIST;
    }
    table_->sets[add.set.name] = FakeSet{add.set, {}};
    table_->set_order.push_back(add.set.name);
    return 0;
  }
  int Do(const DeleteSet& removal) {
    if (FindSet(removal.set) == nullptr) return ENOENT;
    for (const auto& [name, chain] : table_->chains) {
      if (RulesName(chain, removal.set)) return EBUSY;
    }
    table_->sets.erase(removal.set);
    std::erase(table_->set_order, removal.set);
    return 0;
  }
  int Do(const FlushSet& flush) {
    FakeSet* set = FindSet(flush.set);
    if (set == nullptr) return ENOENT;
    set->elements.clear();
    return 0;
  }

  int Do(const AddElements& add) {
    FakeSet* set = FindSet(add.set.name);
    if (set == nullptr) return ENOENT;
    if (set->set != add.set) return EINVAL;
    for (const Element& element : add.elements) {
      if (const int error = AddOne(*set, element)) return error;
    }
    return 0;
  }
  int AddOne(FakeSet& set, const Element& element) {
    if (element.verdict) {
      if (const int error = CheckTarget(*element.verdict)) return error;
    }
    const auto found = set.elements.find(KeyOf(element));
    if (found != set.elements.end()) {
      const Element& old = found->second;
      const bool same =
          old.data == element.data && old.verdict == element.verdict;
      return same ? 0 : EEXIST;
    }
    if (set.set.interval) {
      for (const auto& [key, old] : set.elements) {
        if (Overlap(set.set, old, element)) return EEXIST;
      }
    }
    set.elements.emplace(KeyOf(element), element);
    return 0;
  }
  int Do(const DeleteElements& removal) {
    FakeSet* set = FindSet(removal.set.name);
    if (set == nullptr) return ENOENT;
    for (const Element& element : removal.elements) {
      if (set->elements.erase(KeyOf(element)) == 0) return ENOENT;
    }
    return 0;
  }

  int Do(const AddChain& add) {
    if (FakeChain* old = FindChain(add.chain.name)) {
      const bool same = !add.chain.hook || old->hook == add.chain.hook;
      return same ? 0 : EOPNOTSUPP;
    }
    table_->chains[add.chain.name] = FakeChain{add.chain.hook, {}, {}};
    table_->chain_order.push_back(add.chain.name);
    return 0;
  }
  int Do(const FlushChain& flush) {
    FakeChain* chain = FindChain(flush.chain);
    if (chain == nullptr) return ENOENT;
    chain->rules.clear();
    chain->handles.clear();
    return 0;
  }
  int Do(const DeleteChain& removal) {
    FakeChain* chain = FindChain(removal.chain);
    if (chain == nullptr) return ENOENT;
    if (!chain->rules.empty() || IsTarget(removal.chain)) return EBUSY;
    table_->chains.erase(removal.chain);
    std::erase(table_->chain_order, removal.chain);
    return 0;
  }
  int Do(const AddTimeout& add) {
    table_->timeouts.emplace(add.timeout.name, add.timeout);
    return 0;
  }
  int Do(const DeleteTimeout& removal) {
    for (const auto& [name, chain] : table_->chains) {
      for (const Rule& rule : chain.rules) {
        for (const Statement& statement : rule.statements) {
          const auto* set = std::get_if<SetCtTimeout>(&statement);
          if (set != nullptr && set->object == removal.timeout) return EBUSY;
        }
      }
    }
    return table_->timeouts.erase(removal.timeout) == 0 ? ENOENT : 0;
  }
  int Do(const AddRule& add) {
    FakeChain* chain = FindChain(add.chain);
    if (chain == nullptr) return ENOENT;
    for (const Statement& statement : add.rule.statements) {
      if (const int error = CheckStatement(statement)) return error;
    }
    chain->rules.push_back(add.rule);
    chain->handles.push_back(next_handle_++);
    return 0;
  }

  int CheckStatement(const Statement& statement) {
    if (const auto* timeout = std::get_if<SetCtTimeout>(&statement)) {
      return table_->timeouts.contains(timeout->object) ? 0 : ENOENT;
    }
    if (const auto* verdict = std::get_if<Verdict>(&statement)) {
      return CheckTarget(*verdict);
    }
    if (const auto* match = std::get_if<MatchSet>(&statement)) {
      return CheckLookup(match->set, match->key, 0);
    }
    if (const auto* map = std::get_if<VerdictMap>(&statement)) {
      return CheckLookup(map->map, map->key, std::nullopt);
    }
    if (const auto* map = std::get_if<SetCtMarkFromMap>(&statement)) {
      return CheckLookup(map->map, map->key, SizeOf(Type::kMark));
    }
    if (const auto* nat = std::get_if<NatToMap>(&statement)) {
      const size_t address = nat->family == Family::kIpv4 ? 4 : 16;
      return CheckLookup(nat->map, nat->key,
                         address + (nat->with_port ? 4 : 0));
    }
    return 0;
  }
  // `data_size`: nothing for verdicts, 0 where data is not looked at.
  int CheckLookup(const std::string& name, const std::vector<Field>& key,
                  std::optional<size_t> data_size) {
    FakeSet* set = FindSet(name);
    if (set == nullptr) return ENOENT;
    if (SizeOf(set->set.key) != SizeOf(key)) return ENODATA;
    const bool verdicts = set->set.data == std::vector{Type::kVerdict};
    if (verdicts != !data_size.has_value()) return EINVAL;
    return data_size.value_or(0) == SizeOf(set->set.data) ? 0 : EINVAL;
  }
  int CheckTarget(const Verdict& verdict) {
    if (verdict.chain.empty()) return 0;
    FakeChain* chain = FindChain(verdict.chain);
    if (chain == nullptr) return ENOENT;
    return chain->hook ? EOPNOTSUPP : 0;
  }

  static bool RulesName(const FakeChain& chain, const std::string& set) {
    for (const Rule& rule : chain.rules) {
      for (const Statement& statement : rule.statements) {
        const auto* match = std::get_if<MatchSet>(&statement);
        const auto* map = std::get_if<VerdictMap>(&statement);
        const auto* mark = std::get_if<SetCtMarkFromMap>(&statement);
        const auto* nat = std::get_if<NatToMap>(&statement);
        if ((match != nullptr && match->set == set) ||
            (map != nullptr && map->map == set) ||
            (mark != nullptr && mark->map == set) ||
            (nat != nullptr && nat->map == set)) {
          return true;
        }
      }
    }
    return false;
  }
  bool IsTarget(const std::string& name) const {
    for (const auto& [from, chain] : table_->chains) {
      for (const std::string& target : TargetsOf(chain)) {
        if (target == name) return true;
      }
    }
    for (const auto& [set_name, set] : table_->sets) {
      for (const auto& [key, element] : set.elements) {
        if (element.verdict && element.verdict->chain == name) return true;
      }
    }
    return false;
  }

  // The chains that its own rules go to; maps not looked into.
  static std::vector<std::string> TargetsOf(const FakeChain& chain) {
    std::vector<std::string> targets;
    for (const Rule& rule : chain.rules) {
      for (const Statement& statement : rule.statements) {
        const auto* verdict = std::get_if<Verdict>(&statement);
        if (verdict != nullptr && !verdict->chain.empty()) {
          targets.push_back(verdict->chain);
        }
      }
    }
    return targets;
  }

  int Visit(const std::string& name, const std::optional<Hook>& hook,
            std::set<std::string>& path) {
    const FakeChain& chain = table_->chains.at(name);
    if (!path.insert(name).second) return EMLINK;
    std::vector<std::string> targets = TargetsOf(chain);
    for (const Rule& rule : chain.rules) {
      for (const Statement& statement : rule.statements) {
        if (hook && !RunsAt(statement, *hook)) return EOPNOTSUPP;
        const auto* map = std::get_if<VerdictMap>(&statement);
        if (map == nullptr) continue;
        for (const auto& [key, element] : table_->sets.at(map->map).elements) {
          if (element.verdict && !element.verdict->chain.empty()) {
            targets.push_back(element.verdict->chain);
          }
        }
      }
    }
    std::ranges::sort(targets);
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
    for (const std::string& target : targets) {
      if (const int error = Visit(target, hook, path)) return error;
    }
    path.erase(name);
    return 0;
  }

  std::optional<FakeTable> table_;
  uint64_t& next_handle_;
};

absl::Status FakeClient::Apply(const Transaction& transaction) {
  RETURN_IF_ERROR(transaction.status());
  if (transaction.empty()) return absl::OkStatus();
  if (failure_) {
    absl::Status failure = *std::move(failure_);
    failure_.reset();
    return failure;
  }
  const auto old = tables_.find(transaction.table());
  Batch batch(old == tables_.end() ? std::nullopt
                                   : std::optional<FakeTable>(old->second),
              next_handle_);
  for (const Operation& operation : transaction.operations()) {
    if (const int error = batch.Run(operation)) {
      return ErrnoStatus(error, Print(operation, transaction.table()));
    }
  }
  if (const int error = batch.Validate()) {
    return ErrnoStatus(error, fmt::format("commit {}", transaction.table()));
  }
  if (batch.table()) {
    tables_[transaction.table()] = *std::move(batch.table());
  } else {
    tables_.erase(transaction.table());
  }
  ++generation_;
  applied_.push_back(transaction);
  return absl::OkStatus();
}

absl::StatusOr<Listing> FakeClient::List(const std::string& table) {
  Listing listing;
  listing.generation = generation_;
  const auto found = tables_.find(table);
  if (found == tables_.end()) return listing;
  listing.exists = true;
  for (const auto& [name, chain] : found->second.chains) {
    ListedChain& listed = listing.chains[name];
    listed.hook = chain.hook;
    for (size_t i = 0; i < chain.rules.size(); ++i) {
      listed.rules.push_back(
          {chain.handles[i], expressions_of_(chain.rules[i])});
    }
  }
  for (const auto& [name, set] : found->second.sets) {
    SetWithElements& listed = listing.sets[name];
    listed.set = set.set;
    for (const auto& [key, element] : set.elements) {
      listed.elements.push_back(element);
    }
  }
  listing.timeouts = found->second.timeouts;
  return listing;
}

absl::Status FakeClient::ForEachElement(
    const std::string& table, const Set& set,
    const std::function<void(const Element&)>& each) {
  ASSIGN_OR_RETURN(const Listing listing, List(table));
  const auto found = listing.sets.find(set.name);
  if (found == listing.sets.end()) {
    return ErrnoStatus(ENOENT,
                       fmt::format("list set inet {} {}", table, set.name));
  }
  for (const Element& element : found->second.elements) each(element);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Element>> FakeClient::GetElements(
    const std::string& table, const Set& set,
    const std::vector<Element>& keys) {
  const auto found_table = tables_.find(table);
  const FakeTable none;
  const FakeTable& there =
      found_table == tables_.end() ? none : found_table->second;
  const auto found_set = there.sets.find(set.name);
  if (found_set == there.sets.end()) {
    return ErrnoStatus(ENOENT,
                       fmt::format("get element inet {} {}", table, set.name));
  }
  std::vector<Element> elements;
  for (const Element& key : keys) {
    const auto found = found_set->second.elements.find(KeyOf(key));
    if (found != found_set->second.elements.end()) {
      elements.push_back(found->second);
    }
  }
  return elements;
}

std::optional<Table> FakeClient::Current(const std::string& table) const {
  const auto found = tables_.find(table);
  if (found == tables_.end()) return std::nullopt;
  Table current{table, {}, {}};
  for (const std::string& name : found->second.set_order) {
    const FakeSet& set = found->second.sets.at(name);
    SetWithElements& copy = current.sets.emplace_back();
    copy.set = set.set;
    for (const auto& [key, element] : set.elements) {
      copy.elements.push_back(element);
    }
  }
  for (const std::string& name : found->second.chain_order) {
    const FakeChain& chain = found->second.chains.at(name);
    current.chains.push_back({name, chain.hook, chain.rules});
  }
  for (const auto& [name, timeout] : found->second.timeouts) {
    current.timeouts.push_back(timeout);
  }
  return current;
}

}  // namespace edged::nftables
