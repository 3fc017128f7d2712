#include "common/protocol/records.h"

#include <algorithm>
#include <iterator>

#include "common/status.h"

namespace edged::protocol {
namespace {

// What makes a record the same one in two states.
const std::string& KeyOf(const Uplink& uplink) { return uplink.name; }
const std::string& KeyOf(const Group& group) { return group.name; }
const Listener& KeyOf(const Mapping& mapping) { return mapping.listener; }

constexpr auto kByKey = [](const auto& record) -> const auto& {
  return KeyOf(record);
};

// Both lists are sorted by key: one walk over the two.
template <typename Record, typename Key>
void Compare(const std::vector<Record>& from, const std::vector<Record>& to,
             std::vector<Key>& removed, std::vector<Record>& upserted) {
  auto old = from.begin();
  for (const Record& wanted : to) {
    while (old != from.end() && KeyOf(*old) < KeyOf(wanted)) {
      removed.push_back(KeyOf(*old++));
    }
    const bool known = old != from.end() && KeyOf(*old) == KeyOf(wanted);
    if (!known || *old != wanted) upserted.push_back(wanted);
    if (known) ++old;
  }
  for (; old != from.end(); ++old) removed.push_back(KeyOf(*old));
}

template <typename Record, typename Key>
void Remove(std::vector<Key> keys, std::vector<Record>& records) {
  if (keys.empty()) return;
  std::ranges::sort(keys);
  std::erase_if(records, [&keys](const Record& record) {
    return std::ranges::binary_search(keys, KeyOf(record));
  });
}

// Records that are there are replaced where they stand; new ones are collected
// and merged once, so that a large delta costs no more than one pass.
template <typename Record>
void Upsert(const std::vector<Record>& upserts, std::vector<Record>& records) {
  std::vector<Record> added;
  for (const Record& upsert : upserts) {
    auto at = std::ranges::lower_bound(records, KeyOf(upsert), {}, kByKey);
    if (at != records.end() && KeyOf(*at) == KeyOf(upsert)) {
      *at = upsert;
    } else {
      added.push_back(upsert);
    }
  }
  if (added.empty()) return;
  // Of two upserts with one key the later one counts.
  std::ranges::stable_sort(added, {}, kByKey);
  const auto repeated = std::unique(
      added.rbegin(), added.rend(),
      [](const Record& a, const Record& b) { return KeyOf(a) == KeyOf(b); });
  added.erase(added.begin(), repeated.base());
  const auto size = static_cast<std::ptrdiff_t>(records.size());
  records.insert(records.end(), std::make_move_iterator(added.begin()),
                 std::make_move_iterator(added.end()));
  std::ranges::inplace_merge(records, records.begin() + size, {}, kByKey);
}

// Up to so many it is quicker to compare each than to search for each length.
constexpr size_t kFewPrefixes = 32;

// Every flow of a host may be asked about.
bool AnyContains(const std::vector<IpPrefix>& prefixes,
                 const IpAddress& address) {
  if (prefixes.size() <= kFewPrefixes) {
    return std::ranges::any_of(prefixes, [&address](const IpPrefix& prefix) {
      return prefix.Contains(address);
    });
  }
  for (int length = 0; length <= address.bits(); ++length) {
    if (std::ranges::binary_search(prefixes, IpPrefix(address, length))) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool Access::Admits(const IpAddress& client) const {
  return (allow.empty() || AnyContains(allow, client)) &&
         !AnyContains(deny, client);
}

std::string Access::ToString() const {
  std::string text;
  const auto add = [&text](std::string_view word) {
    text += fmt::format("{}{}", text.empty() ? "" : " ", word);
  };
  for (const IpPrefix& prefix : allow) add(prefix.ToString());
  if (!deny.empty()) add("not");
  for (const IpPrefix& prefix : deny) add(prefix.ToString());
  return text;
}

std::string Listener::ToString() const {
  return fmt::format("{} {}/{}", public_address.ToString(),
                     edged::ToString(protocol), ports.ToString());
}

bool EdgeDelta::empty() const { return *this == EdgeDelta(); }

EdgeDelta Difference(const EdgeState& from, const EdgeState& to) {
  EdgeDelta delta;
  if (from.settings != to.settings) delta.settings = to.settings;
  Compare(from.uplinks, to.uplinks, delta.removed_uplinks, delta.uplinks);
  Compare(from.groups, to.groups, delta.removed_groups, delta.groups);
  Compare(from.mappings, to.mappings, delta.removed_mappings, delta.mappings);
  return delta;
}

void Apply(const EdgeDelta& delta, EdgeState& state) {
  if (delta.settings) state.settings = *delta.settings;
  Remove(delta.removed_uplinks, state.uplinks);
  Upsert(delta.uplinks, state.uplinks);
  Remove(delta.removed_groups, state.groups);
  Upsert(delta.groups, state.groups);
  Remove(delta.removed_mappings, state.mappings);
  Upsert(delta.mappings, state.mappings);
}

}  // namespace edged::protocol
