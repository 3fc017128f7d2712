#include "common/socket_address.h"

#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "common/status.h"

namespace edged {

std::pair<sockaddr_storage, socklen_t> ToSockaddr(
    const SocketAddress& address) {
  sockaddr_storage storage{};
  const auto bytes = address.address.bytes();
  if (address.address.is_ipv4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&storage, &in, sizeof in);
    return {storage, sizeof in};
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(address.port);
  std::memcpy(&in6.sin6_addr, bytes.data(), bytes.size());
  std::memcpy(&storage, &in6, sizeof in6);
  return {storage, sizeof in6};
}

absl::StatusOr<SocketAddress> FromSockaddr(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &storage, sizeof in);
    return SocketAddress{IpAddress::FromIpv4(ntohl(in.sin_addr.s_addr)),
                         ntohs(in.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in6;
    std::memcpy(&in6, &storage, sizeof in6);
    return SocketAddress{IpAddress::FromBytes(std::span<const uint8_t>(
                             in6.sin6_addr.s6_addr, 16)),
                         ntohs(in6.sin6_port)};
  }
  return InvalidArgument("socket address family {} is not known",
                         storage.ss_family);
}

absl::Status SendWhole(int fd, Family family) {
  const bool is_ipv4 = family == Family::kIpv4;
  const int how = is_ipv4 ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
  if (setsockopt(fd, is_ipv4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6},
                 is_ipv4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &how,
                 sizeof how) != 0) {
    return ErrnoStatus(errno, "IP_MTU_DISCOVER");
  }
  return absl::OkStatus();
}

}  // namespace edged
