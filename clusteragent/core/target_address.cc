#include "clusteragent/core/target_address.h"

#include <algorithm>
#include <array>
#include <string>

namespace edged::agent {
namespace {

// Where clouds tell a machine, and whoever asks from it, what it is and its
// keys. Other link-local IPv4 addresses may be of hosts.
bool IsMetadataService(const std::string& address) {
  static constexpr std::array<std::string_view, 4> kAddresses = {
      "169.254.169.254",  // nearly all
      "169.254.170.2",    // containers of AWS
      "100.100.100.200",  // Alibaba
      "fd00:ec2::254"};   // AWS
  return std::ranges::find(kAddresses, address) != kAddresses.end();
}

}  // namespace

std::string_view WhyNoTarget(const IpAddress& address) {
  if (address.is_loopback()) {
    return "is a loopback address, which packets from a tunnel cannot reach; "
           "use another address of that host";
  }
  const std::string text = address.ToString();
  if (IsMetadataService(text)) {
    return "is where a cloud tells a machine its own keys";
  }
  if (address.is_ipv6_link_local()) {
    return "is a link-local address, which means nothing without its "
           "interface; use another address of that host";
  }
  if (address.is_unspecified() || address.is_multicast() ||
      address.is_ipv4_mapped() || text == "255.255.255.255") {
    return "is not the address of a host";
  }
  return {};
}

}  // namespace edged::agent
