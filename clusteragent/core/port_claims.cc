#include "clusteragent/core/port_claims.h"

#include <iterator>

namespace edged::agent {

std::optional<size_t> PortClaims::OwnerOf(const PortRange& ports) const {
  auto next = by_first_.upper_bound(ports.first);
  if (next != by_first_.begin()) {
    const Claimed& before = std::prev(next)->second;
    if (before.last >= ports.first) return before.owner;
  }
  if (next != by_first_.end() && next->first <= ports.last) {
    return next->second.owner;
  }
  return std::nullopt;
}

void PortClaims::Claim(const PortRange& ports, size_t owner) {
  by_first_[ports.first] = {ports.last, owner};
}

}  // namespace edged::agent
