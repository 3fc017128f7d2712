#include "clusteragent/core/uplink_step.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "clusteragent/core/uplink_table.h"

namespace edged::agent {
namespace {

using nftables::Chain;
using nftables::Element;
using nftables::SetWithElements;
using nftables::Table;

// Whether the two differ in mappings, and what follows from them, alone.
bool DiffersInMappings(const EdgePlan& before, const EdgePlan& after) {
  return before.uid == after.uid && before.address == after.address &&
         before.listen_port == after.listen_port &&
         before.network == after.network &&
         before.keepalive_seconds == after.keepalive_seconds &&
         before.mtu == after.mtu && before.number == after.number &&
         before.own_block == after.own_block &&
         before.wanted.settings == after.wanted.settings &&
         before.wanted.uplinks == after.wanted.uplinks;
}

bool ByKey(const Element& a, const Element& b) { return a.key < b.key; }

const std::vector<Element>& ElementsOf(const Table& table,
                                       const std::string& set) {
  static const std::vector<Element> kNone;
  const auto found = std::ranges::find_if(
      table.sets,
      [&set](const SetWithElements& other) { return other.set.name == set; });
  return found == table.sets.end() ? kNone : found->elements;
}

const Chain* FindChain(const Table& table, const std::string& name) {
  const auto found = std::ranges::find(table.chains, name, &Chain::name);
  return found == table.chains.end() ? nullptr : &*found;
}

// How many elements lead to a chain.
size_t UsersAmong(const std::vector<Element>& elements,
                  const std::string& chain) {
  return static_cast<size_t>(
      std::ranges::count_if(elements, [&chain](const Element& element) {
        return element.verdict && element.verdict->chain == chain;
      }));
}

size_t UsersOf(const Table& table, const std::string& chain) {
  size_t users = 0;
  for (const SetWithElements& set : table.sets) {
    users += UsersAmong(set.elements, chain);
  }
  return users;
}

// Those of `some` that `others` does not have as they are.
std::vector<Element> Without(const std::vector<Element>& some,
                             const std::vector<Element>& others) {
  std::vector<Element> rest;
  for (const Element& element : some) {
    const auto [first, last] = std::ranges::equal_range(others, element, ByKey);
    if (std::find(first, last, element) == last) rest.push_back(element);
  }
  return rest;
}

// What a fallback route of a family depends on: whether there is any target,
// and those that are on this host.
std::optional<std::set<IpAddress>> FallbackTargets(
    const std::vector<TunnelOfEdge>& tunnels, Family family,
    const UplinkInput& input) {
  std::optional<std::set<IpAddress>> local;
  for (const TunnelOfEdge& tunnel : tunnels) {
    for (const UplinkTarget& target : tunnel.targets) {
      const IpAddress& address = target.target.address;
      if (address.family() != family) continue;
      if (!local) local.emplace();
      if (std::ranges::find(input.local_addresses, address) !=
          input.local_addresses.end()) {
        local->insert(address);
      }
    }
  }
  return local;
}

// Sorted.
std::vector<UplinkTarget> UdpTargetsOf(
    const std::vector<TunnelOfEdge>& tunnels) {
  std::vector<UplinkTarget> targets;
  for (const TunnelOfEdge& tunnel : tunnels) {
    std::ranges::copy_if(tunnel.targets, std::back_inserter(targets),
                         [](const UplinkTarget& target) {
                           return target.protocol == Protocol::kUdp;
                         });
  }
  std::ranges::sort(targets);
  return targets;
}

// Takes `removed` from `list` and puts `added` into it, all of them sorted by
// `before`, in one walk.
template <typename T, typename Before>
void Take(const std::vector<T>& removed, const std::vector<T>& added,
          Before before, std::vector<T>& list) {
  std::erase_if(list, [&](const T& one) {
    const auto [first, last] = std::ranges::equal_range(removed, one, before);
    return std::find(first, last, one) != last;
  });
  const auto size = static_cast<std::ptrdiff_t>(list.size());
  list.insert(list.end(), added.begin(), added.end());
  std::ranges::inplace_merge(list, list.begin() + size, before);
}

}  // namespace

std::optional<UplinkStep> UplinkStep::Make(const std::vector<EdgeStep>& edges,
                                           const UplinkInput& input,
                                           const UplinkPlan& plan) {
  const auto marks = MarkMask::Create(input.mark_mask);
  if (!marks.ok()) return std::nullopt;
  std::vector<TunnelOfEdge> before;
  std::vector<TunnelOfEdge> after;
  for (const EdgeStep& edge : edges) {
    if (!DiffersInMappings(*edge.before, *edge.after)) return std::nullopt;
    auto tunnel = MakeTunnelOfEdge(*edge.before, input);
    auto next = MakeTunnelOfEdge(*edge.after, input);
    if (!tunnel.ok() || !next.ok()) return std::nullopt;
    if (!*tunnel || !*next) continue;  // nothing of it is here
    before.push_back(**std::move(tunnel));
    after.push_back(**std::move(next));
  }
  for (const Family family : input.without_default) {
    if (FallbackTargets(before, family, input) !=
        FallbackTargets(after, family, input)) {
      return std::nullopt;
    }
  }
  HostGuard guard;
  guard.families.push_back({Family::kIpv4, {}, false});
  if (input.ipv6.carried) guard.families.push_back({Family::kIpv6, {}, false});
  const Table old_table = MakeUplinkTable(before, *marks, guard);
  const Table new_table = MakeUplinkTable(after, *marks, guard);
  UplinkStep step;
  if (old_table.timeouts != new_table.timeouts) return std::nullopt;
  if (!step.CompareMaps(old_table, new_table, plan.table) ||
      !step.CompareChains(old_table, new_table, plan.table)) {
    return std::nullopt;
  }
  step.FillChange();
  const std::vector<UplinkTarget> old_udp = UdpTargetsOf(before);
  const std::vector<UplinkTarget> new_udp = UdpTargetsOf(after);
  std::ranges::set_difference(old_udp, new_udp,
                              std::back_inserter(step.removed_udp_));
  std::ranges::set_difference(new_udp, old_udp,
                              std::back_inserter(step.added_udp_));
  return step;
}

// False where a map comes or goes, or is not what it was taken for.
bool UplinkStep::CompareMaps(const Table& before, const Table& after,
                             const Table& whole) {
  std::set<std::string> names;
  for (const Table* table : {&before, &after}) {
    for (const SetWithElements& set : table->sets) names.insert(set.set.name);
  }
  for (const std::string& name : names) {
    const auto& old_elements = ElementsOf(before, name);
    const auto& new_elements = ElementsOf(after, name);
    MapStep step{.set = {},
                 .removed = Without(old_elements, new_elements),
                 .added = Without(new_elements, old_elements)};
    if (step.removed.empty() && step.added.empty()) continue;
    const auto held = std::ranges::find_if(
        whole.sets,
        [&name](const SetWithElements& set) { return set.set.name == name; });
    if (held == whole.sets.end()) return false;
    if (!Without(step.removed, held->elements).empty()) return false;
    // An optional one is never empty.
    const bool optional = !held->set.data.empty() &&
                          held->set.data[0] == nftables::Type::kVerdict;
    if (optional &&
        held->elements.size() + step.added.size() == step.removed.size()) {
      return false;
    }
    step.set = held->set;
    maps_.push_back(std::move(step));
  }
  return true;
}

// Of the chains that maps lead to. False where somebody else's listeners lead
// to one that would be another.
bool UplinkStep::CompareChains(const Table& before, const Table& after,
                               const Table& whole) {
  for (const Chain& chain : after.chains) {
    if (chain.hook) continue;
    const Chain* held = FindChain(whole, chain.name);
    if (held == nullptr) {
      new_chains_.push_back(chain);
      continue;
    }
    if (held->rules == chain.rules) continue;
    if (UsersOf(before, chain.name) != UsersOf(whole, chain.name)) return false;
    other_chains_.push_back(chain);
  }
  for (const Chain& chain : before.chains) {
    if (chain.hook || FindChain(after, chain.name) != nullptr) continue;
    if (UsersLeft(whole, chain.name) == 0) old_chains_.push_back(chain.name);
  }
  return true;
}

// Elements of maps that are not removed.
size_t UplinkStep::UsersLeft(const Table& whole,
                             const std::string& chain) const {
  size_t left = UsersOf(whole, chain);
  for (const MapStep& map : maps_) left -= UsersAmong(map.removed, chain);
  return left;
}

// What refers goes before what it refers to, and comes after it.
void UplinkStep::FillChange() {
  for (const MapStep& map : maps_) {
    if (map.removed.empty()) continue;
    change_.Add(nftables::DeleteElements{map.set, map.removed});
  }
  for (const std::string& chain : old_chains_) {
    change_.Add(nftables::FlushChain{chain});
    change_.Add(nftables::DeleteChain{chain});
  }
  for (const Chain& chain : new_chains_) change_.AddChainWithRules(chain);
  for (const Chain& chain : other_chains_) change_.ReplaceRules(chain);
  for (const MapStep& map : maps_) {
    if (map.added.empty()) continue;
    change_.Add(nftables::AddElements{map.set, map.added});
  }
}

void UplinkStep::TakeInto(UplinkPlan& plan) const {
  for (const MapStep& map : maps_) {
    const auto held = std::ranges::find_if(
        plan.table.sets, [&map](const SetWithElements& set) {
          return set.set.name == map.set.name;
        });
    Take(map.removed, map.added, ByKey, held->elements);
  }
  std::vector<Chain>& chains = plan.table.chains;
  for (const std::string& name : old_chains_) {
    std::erase_if(chains,
                  [&name](const Chain& chain) { return chain.name == name; });
  }
  for (const Chain& chain : other_chains_) {
    std::ranges::find(chains, chain.name, &Chain::name)->rules = chain.rules;
  }
  for (const Chain& chain : new_chains_) {
    const auto place = std::ranges::find_if(chains, [&](const Chain& other) {
      return !other.hook && other.name > chain.name;
    });
    chains.insert(place, chain);
  }
  Take(removed_udp_, added_udp_, std::less<>(), plan.flows.udp);
}

}  // namespace edged::agent
