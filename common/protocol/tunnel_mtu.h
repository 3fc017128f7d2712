#pragma once

#include <cstdint>
#include <optional>

#include "common/net_types.h"
#include "common/protocol/records.h"

// What fits into the tunnel, from what fits below it. Sizes are of IP packets,
// in bytes.

namespace edged::protocol {

// What every host takes (RFC 791), and what carries IPv6 (RFC 8200, section 5).
inline constexpr uint32_t kLeastMtu = 576;
inline constexpr uint32_t kLeastIpv6Mtu = 1280;
// Of a tunnel over Ethernet by either family.
inline constexpr uint32_t kUsualMtu = 1420;

// What a packet grows by: the outer IP header (20 or 40), UDP (8), WireGuard
// (32). 80 while the family of the peer's endpoint is not known.
uint32_t TunnelOverhead(std::optional<Family> outer);

// The largest packet that needs no fragments below; at least kLeastMtu.
uint32_t TunnelMtu(uint32_t underlay, std::optional<Family> outer);

// Of the tunnel device that is to carry packets of `mtu`: a device below 1280
// loses its IPv6, so with `ipv6` larger packets go in fragments below.
uint32_t DeviceMtu(uint32_t mtu, bool ipv6);

// The edge has an IPv6 network, and public addresses for it.
bool WantsIpv6(const Settings& settings);

}  // namespace edged::protocol
