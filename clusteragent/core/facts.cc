#include "clusteragent/core/facts.h"

#include <fmt/format.h>

#include <algorithm>

namespace edged::agent {

std::string ReservedPort::ToString() const {
  return fmt::format("{}/{}", edged::ToString(protocol), port);
}

std::vector<IpAddress> TellableAddresses(std::vector<IpAddress> addresses) {
  std::erase_if(addresses, [](const IpAddress& address) {
    return address.is_loopback() || address.is_ipv6_link_local();
  });
  std::ranges::sort(addresses);
  addresses.erase(std::unique(addresses.begin(), addresses.end()),
                  addresses.end());
  if (addresses.size() > kMostAddresses) addresses.resize(kMostAddresses);
  return addresses;
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
