#include "clusteragent/core/lingering.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace edged::agent {
namespace {

using protocol::Listener;

const Listener& ListenerOf(const PlannedMapping& planned) {
  return planned.mapping.listener;
}

// `sorted` by listener, none of which overlaps another.
bool OverlapsAny(const std::vector<PlannedMapping>& sorted,
                 const Listener& listener) {
  const auto after = std::ranges::upper_bound(sorted, listener, {}, ListenerOf);
  return (after != sorted.end() && ListenerOf(*after).Overlaps(listener)) ||
         (after != sorted.begin() &&
          ListenerOf(*std::prev(after)).Overlaps(listener));
}

}  // namespace

EdgePlan WithLingering(const EdgePlan& edge, const EdgePlan& before,
                       const protocol::EdgeState& answered) {
  EdgePlan whole = edge;
  std::vector<Listener> going;  // sorted, as both lists are
  for (const protocol::Mapping& mapping : answered.mappings) {
    const bool wanted =
        std::ranges::binary_search(edge.wanted.mappings, mapping.listener, {},
                                   &protocol::Mapping::listener);
    if (!wanted) going.push_back(mapping.listener);
  }
  if (going.empty()) return whole;
  const auto size = static_cast<std::ptrdiff_t>(whole.mappings.size());
  for (const PlannedMapping& planned : before.mappings) {
    if (std::ranges::binary_search(going, ListenerOf(planned)) &&
        !OverlapsAny(edge.mappings, ListenerOf(planned))) {
      whole.mappings.push_back(planned);
    }
  }
  std::ranges::inplace_merge(whole.mappings, whole.mappings.begin() + size, {},
                             ListenerOf);
  return whole;
}

}  // namespace edged::agent
