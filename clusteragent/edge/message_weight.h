#pragma once

#include <cstddef>

#include "common/protocol/records.h"

namespace edged::agent {

// How much of a message a record takes, in records of the usual size (100
// bytes, 250 at most): a group may have 2,048 prefixes, and an edge refuses
// messages of more than 4 MiB, whoever's bindings made them so large.
inline size_t WeightOf(const protocol::Group& group) {
  return 1 + group.uplinks.size() + group.access.allow.size() +
         group.access.deny.size();
}

inline size_t WeightOf(const protocol::EdgeDelta& delta) {
  size_t weight = delta.removed_uplinks.size() + delta.uplinks.size() +
                  delta.removed_groups.size() + delta.removed_mappings.size() +
                  delta.mappings.size();
  for (const protocol::Group& group : delta.groups) weight += WeightOf(group);
  return weight;
}

}  // namespace edged::agent
