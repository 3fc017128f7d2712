#include "common/net_types.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "common/status.h"

namespace edged {
namespace {

// A decimal number without sign or leading zero, at most `limit`.
absl::StatusOr<int> ParseNumber(std::string_view text, int limit) {
  int value = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool leading_zero = text.size() > 1 && text[0] == '0';
  if (error != std::errc() || stop != end || leading_zero || text[0] == '-' ||
      value > limit) {
    return InvalidArgument("\"{}\" is not a number up to {}", text, limit);
  }
  return value;
}

}  // namespace

std::string_view ToString(Protocol protocol) {
  return protocol == Protocol::kTcp ? "tcp" : "udp";
}

IpAddress IpAddress::FromBytes(std::span<const uint8_t> bytes) {
  IpAddress address;
  address.family_ = bytes.size() == 16 ? Family::kIpv6 : Family::kIpv4;
  std::copy_n(bytes.begin(), std::min(bytes.size(), address.bytes().size()),
              address.bytes_.begin());
  return address;
}

IpAddress IpAddress::FromIpv4(uint32_t host_order) {
  const uint32_t network = htonl(host_order);
  uint8_t bytes[4];
  std::memcpy(bytes, &network, sizeof bytes);
  return FromBytes(bytes);
}

absl::StatusOr<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string copy(text);
  uint8_t bytes[16];
  if (copy.find('\0') == std::string::npos) {
    if (inet_pton(AF_INET, copy.c_str(), bytes) == 1) {
      return FromBytes(std::span(bytes, 4));
    }
    if (inet_pton(AF_INET6, copy.c_str(), bytes) == 1) return FromBytes(bytes);
  }
  return InvalidArgument("\"{}\" is not an IP address", text);
}

bool IpAddress::is_unspecified() const {
  return std::ranges::all_of(bytes(), [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_ipv4()) return bytes_[0] == 127;
  return bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.end() - 1,
                                        [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_ipv6_link_local() const {
  return !is_ipv4() && bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_ipv4_mapped() const {
  constexpr std::array<uint8_t, 12> kPrefix{0, 0, 0, 0, 0,    0,
                                            0, 0, 0, 0, 0xff, 0xff};
  return !is_ipv4() &&
         std::equal(kPrefix.begin(), kPrefix.end(), bytes_.begin());
}

bool IpAddress::is_multicast() const {
  return is_ipv4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(is_ipv4() ? AF_INET : AF_INET6, bytes_.data(), text, sizeof text);
  return text;
}

IpAddress IpAddress::Plus(uint64_t offset, int shift) const {
  IpAddress sum = *this;
  const int size = static_cast<int>(bytes().size());
  uint64_t carry = 0;
  for (int i = 0; i < size; ++i) {
    const int low = i * 8 - shift;  // bits of `offset` that land in this byte
    uint64_t part = 0;
    if (low >= 0 && low < 64) {
      part = (offset >> low) & 0xff;
    } else if (low < 0 && low > -8) {
      part = (offset << -low) & 0xff;
    }
    uint8_t& byte = sum.bytes_[size - 1 - i];
    carry += byte + part;
    byte = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  return sum;
}

IpPrefix::IpPrefix(const IpAddress& address, int length)
    : length_(static_cast<uint8_t>(std::clamp(length, 0, address.bits()))) {
  uint8_t bytes[16];
  const auto source = address.bytes();
  for (size_t i = 0; i < source.size(); ++i) {
    const int kept = std::clamp(length_ - static_cast<int>(i) * 8, 0, 8);
    bytes[i] = source[i] & static_cast<uint8_t>(0xff00 >> kept);
  }
  address_ = IpAddress::FromBytes(std::span(bytes, source.size()));
}

IpPrefix IpPrefix::Host(const IpAddress& address) {
  return IpPrefix(address, address.bits());
}

absl::StatusOr<IpPrefix> IpPrefix::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return InvalidArgument("\"{}\" is not a prefix: it has no /length", text);
  }
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address.ok()) return InvalidArgument("\"{}\" is not a prefix", text);
  const auto length = ParseNumber(text.substr(slash + 1), address->bits());
  if (!length.ok()) {
    return InvalidArgument("\"{}\" is not a prefix: the length is 0 to {}",
                           text, address->bits());
  }
  const IpPrefix prefix(*address, *length);
  if (prefix.address() != *address) {
    return InvalidArgument("\"{}\" has host bits set: {} was meant?", text,
                           prefix.ToString());
  }
  return prefix;
}

bool IpPrefix::Contains(const IpAddress& address) const {
  return address.family() == family() && IpPrefix(address, length_) == *this;
}

bool IpPrefix::Contains(const IpPrefix& other) const {
  return other.length_ >= length_ && Contains(other.address_);
}

bool IpPrefix::Overlaps(const IpPrefix& other) const {
  return Contains(other) || other.Contains(*this);
}

std::string IpPrefix::ToString() const {
  return fmt::format("{}/{}", address_.ToString(), length_);
}

absl::StatusOr<SocketAddress> SocketAddress::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  const bool bracketed =
      host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (colon != std::string_view::npos) {
    const auto address = IpAddress::Parse(host);
    const auto port = ParseNumber(text.substr(colon + 1), 65535);
    if (address.ok() && port.ok() && *port > 0 &&
        bracketed != address->is_ipv4()) {
      return SocketAddress{*address, static_cast<uint16_t>(*port)};
    }
  }
  return InvalidArgument("\"{}\" is not ADDRESS:PORT", text);
}

std::string SocketAddress::ToString() const {
  return address.is_ipv4() ? fmt::format("{}:{}", address.ToString(), port)
                           : fmt::format("[{}]:{}", address.ToString(), port);
}

std::string PortRange::ToString() const {
  return is_single() ? fmt::format("{}", first)
                     : fmt::format("{}-{}", first, last);
}

}  // namespace edged
