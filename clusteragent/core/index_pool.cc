#include "clusteragent/core/index_pool.h"

#include <algorithm>
#include <set>

namespace edged::agent {

std::optional<uint32_t> IndexPool::Find(const std::string& name) const {
  const auto found = taken.find(name);
  if (found == taken.end()) return std::nullopt;
  return found->second;
}

std::optional<uint32_t> IndexPool::Take(const std::string& name,
                                        uint32_t limit) {
  if (const auto known = Find(name)) return known;
  std::set<uint32_t> used(resting.begin(), resting.end());
  for (const auto& [other, number] : taken) used.insert(number);
  for (uint32_t number = 1; number <= limit; ++number) {
    if (!used.contains(number)) return taken[name] = number;
  }
  const auto rested = std::ranges::find_if(
      resting, [limit](uint32_t number) { return number <= limit; });
  if (rested == resting.end()) return std::nullopt;
  const uint32_t number = *rested;
  resting.erase(rested);
  return taken[name] = number;
}

void IndexPool::Free(const std::string& name) {
  const auto found = taken.find(name);
  if (found == taken.end()) return;
  resting.push_back(found->second);
  taken.erase(found);
}

}  // namespace edged::agent
