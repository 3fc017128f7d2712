#pragma once

#include <sys/socket.h>

#include <utility>

#include "absl/status/statusor.h"
#include "common/net_types.h"

namespace edged {

// SocketAddress as the socket calls take it, and back. InvalidArgument for a
// family that is neither IPv4 nor IPv6.
std::pair<sockaddr_storage, socklen_t> ToSockaddr(const SocketAddress& address);
absl::StatusOr<SocketAddress> FromSockaddr(const sockaddr_storage& storage);

// Datagrams of `fd`, a socket of this family, leave whole or not at all, up to
// the MTU of their device, whatever is known of the path (IP_PMTUDISC_PROBE).
absl::Status SendWhole(int fd, Family family);

}  // namespace edged
