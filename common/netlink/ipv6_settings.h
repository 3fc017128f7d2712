#pragma once

#include <string>

#include "absl/status/status.h"

// What only /proc/sys tells and sets of IPv6, for this thread's network
// namespace. Of forwarding: since Linux 6.17 there is
// net.ipv6.conf.DEVICE.force_forwarding, and no rtnetlink way to set it;
// before, net.ipv6.conf.all.forwarding alone counts, which makes the whole host
// a router.

namespace edged::netlink {

// The kernel has IPv6, and new devices of this namespace speak it.
enum class Ipv6Presence { kOn, kSwitchedOff, kNotInKernel };
Ipv6Presence PresenceOfIpv6();

// This kernel has it, and this process may write it: /proc/sys is writable.
bool MaySwitchIpv6Forwarding();

// FailedPrecondition, with the sysctl's name, when it cannot be written.
absl::Status SwitchIpv6Forwarding(const std::string& device, bool on);

}  // namespace edged::netlink
