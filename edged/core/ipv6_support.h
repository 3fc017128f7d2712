#pragma once

#include <optional>
#include <string>

#include "common/netlink/rtnetlink.h"
#include "common/protocol/records.h"
#include "edged/core/host_facts.h"

// Whether this host carries IPv6, and what is in the way. Pure.

namespace edged::edge {

// What a host's sysctls say, as observed.
struct Ipv6Host {
  bool forwarding_everywhere = false;  // net.ipv6.conf.all.forwarding
  bool prepared = false;    // `edged prepare` switched it on, nobody else
  bool may_switch = false;  // we may write force_forwarding of a device
  bool operator==(const Ipv6Host&) const = default;
};

// The facts for `settings`, without the interfaces: an overlay where the
// settings name a network and `device`, the tunnel, speaks IPv6 at `mtu`.
HostFacts::Ipv6 Ipv6Facts(const protocol::Settings& settings,
                          const Ipv6Host& host, const netlink::Link* device,
                          uint32_t mtu);

// Why nothing that arrives somewhere is served.
struct Unserved {
  std::string reason;  // AddressNotLocal, Ipv6NotAvailable, Ipv6ForwardingOff
  std::string message;
  bool operator==(const Unserved&) const = default;
};

// What is against a public IPv6 address that arrives at `link` (nullptr: none
// that forwards); the message names the sysctl that is in the way.
std::optional<Unserved> AgainstIpv6(const protocol::Settings& settings,
                                    const HostFacts& facts,
                                    const netlink::Link* device,
                                    const netlink::Link* link);

}  // namespace edged::edge
