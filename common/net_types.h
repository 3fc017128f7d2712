#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// Addresses, prefixes and ports as plain values. Bytes are in network order.

namespace edged {

enum class Family : uint8_t { kIpv4 = 4, kIpv6 = 6 };

enum class Protocol : uint8_t { kTcp = 6, kUdp = 17 };  // IANA numbers

std::string_view ToString(Protocol protocol);  // "tcp", "udp"

class IpAddress {
 public:
  // 0.0.0.0
  IpAddress() = default;
  // `bytes` has 4 or 16 bytes in network order.
  static IpAddress FromBytes(std::span<const uint8_t> bytes);
  static IpAddress FromIpv4(uint32_t host_order);
  // Accepts "192.0.2.1" and "2001:db8::1"; no zone, no leading zeros, no
  // prefix.
  static absl::StatusOr<IpAddress> Parse(std::string_view text);

  Family family() const { return family_; }
  bool is_ipv4() const { return family_ == Family::kIpv4; }
  // 4 or 16 bytes; valid as long as this object.
  std::span<const uint8_t> bytes() const {
    return {bytes_.data(), is_ipv4() ? 4u : 16u};
  }
  int bits() const { return is_ipv4() ? 32 : 128; }
  bool is_unspecified() const;
  bool is_loopback() const;
  bool is_multicast() const;
  // fe80::/10, which means nothing without an interface; false for IPv4.
  bool is_ipv6_link_local() const;
  bool is_ipv4_mapped() const;  // ::ffff:0:0/96, never on a wire
  std::string ToString() const;

  // The address `offset` × 2^`shift` further; wraps at the end of the family.
  IpAddress Plus(uint64_t offset, int shift = 0) const;

  auto operator<=>(const IpAddress&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const IpAddress& address) {
    return H::combine(std::move(state), address.family_, address.bytes_);
  }

 private:
  Family family_ = Family::kIpv4;
  std::array<uint8_t, 16> bytes_{};
};

// A network: an address without host bits, and a length in bits.
class IpPrefix {
 public:
  IpPrefix() = default;
  // Clears the host bits. `length` is cut to the family's bits.
  IpPrefix(const IpAddress& address, int length);
  // The prefix of one address: /32 or /128.
  static IpPrefix Host(const IpAddress& address);
  // "10.200.0.0/22"; refuses host bits and a missing length.
  static absl::StatusOr<IpPrefix> Parse(std::string_view text);

  const IpAddress& address() const { return address_; }
  int length() const { return length_; }
  Family family() const { return address_.family(); }
  bool Contains(const IpAddress& address) const;
  bool Contains(const IpPrefix& other) const;
  bool Overlaps(const IpPrefix& other) const;
  std::string ToString() const;

  auto operator<=>(const IpPrefix&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const IpPrefix& prefix) {
    return H::combine(std::move(state), prefix.address_, prefix.length_);
  }

 private:
  IpAddress address_;
  uint8_t length_ = 0;
};

// An address with a port: "192.0.2.1:51820", "[2001:db8::1]:51820".
struct SocketAddress {
  IpAddress address;
  uint16_t port = 0;

  static absl::StatusOr<SocketAddress> Parse(std::string_view text);
  std::string ToString() const;
  auto operator<=>(const SocketAddress&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const SocketAddress& value) {
    return H::combine(std::move(state), value.address, value.port);
  }
};

// Ports first..last, both included; 1 ≤ first ≤ last ≤ 65535.
struct PortRange {
  uint16_t first = 0;
  uint16_t last = 0;

  bool is_single() const { return first == last; }
  bool Contains(uint16_t port) const { return first <= port && port <= last; }
  bool Overlaps(const PortRange& other) const {
    return first <= other.last && other.first <= last;
  }
  uint32_t size() const { return uint32_t{last} - first + 1; }
  std::string ToString() const;  // "443" or "50000-50100"
  auto operator<=>(const PortRange&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const PortRange& range) {
    return H::combine(std::move(state), range.first, range.last);
  }
};

}  // namespace edged
