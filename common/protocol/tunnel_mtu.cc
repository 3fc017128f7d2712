#include "common/protocol/tunnel_mtu.h"

#include <algorithm>

namespace edged::protocol {

uint32_t TunnelOverhead(std::optional<Family> outer) {
  return outer == Family::kIpv4 ? 60 : 80;
}

uint32_t TunnelMtu(uint32_t underlay, std::optional<Family> outer) {
  const uint32_t overhead = TunnelOverhead(outer);
  const uint32_t most = uint32_t{UINT16_MAX} - overhead;
  return std::clamp(underlay, kLeastMtu + overhead, most + overhead) - overhead;
}

uint32_t DeviceMtu(uint32_t mtu, bool ipv6) {
  return std::max(mtu, ipv6 ? kLeastIpv6Mtu : kLeastMtu);
}

bool WantsIpv6(const Settings& settings) {
  return settings.network6 &&
         std::ranges::any_of(
             settings.public_addresses,
             [](const PublicAddress& ip) { return !ip.address.is_ipv4(); });
}

}  // namespace edged::protocol
