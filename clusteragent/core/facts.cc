#include "clusteragent/core/facts.h"

#include <fmt/format.h>

namespace edged::agent {

std::string ReservedPort::ToString() const {
  return fmt::format("{}/{}", edged::ToString(protocol), port);
}

IpPrefix DefaultSupernet() {
  constexpr uint32_t kAddress = 10u << 24 | 200u << 16;
  return IpPrefix(IpAddress::FromIpv4(kAddress), 14);
}

const EdgeFacts& Facts::Edge(const std::string& name) const {
  static const EdgeFacts kUnknown;
  const auto found = edges.find(name);
  return found == edges.end() ? kUnknown : found->second;
}

}  // namespace edged::agent
