#include "common/protocol/overlay.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "common/status.h"

namespace edged::protocol {
namespace {

constexpr int kBlockNumberBits = std::countr_zero(kBlocks);
constexpr int kLargestIpv4 = 16;  // lengths of the largest networks
constexpr int kLargestIpv6 = 48;

}  // namespace

IpPrefix UniqueLocalNetwork(std::string_view cluster_uid, uint16_t subnet) {
  constexpr size_t kRandomBytes = 5;
  const std::string text = fmt::format("edged overlay {}", cluster_uid);
  std::array<uint8_t, crypto_hash_sha256_BYTES> hash;
  crypto_hash_sha256(hash.data(), reinterpret_cast<const uint8_t*>(text.data()),
                     text.size());
  std::array<uint8_t, 16> bytes{0xfd};
  std::copy_n(hash.begin(), kRandomBytes, bytes.begin() + 1);
  bytes[6] = static_cast<uint8_t>(subnet >> 8);
  bytes[7] = static_cast<uint8_t>(subnet);
  return IpPrefix(IpAddress::FromBytes(bytes), 64);
}

absl::StatusOr<Overlay> Overlay::Create(const IpPrefix& network) {
  const IpAddress& address = network.address();
  const int largest = address.is_ipv4() ? kLargestIpv4 : kLargestIpv6;
  const int smallest = address.bits() - kBlockNumberBits - 1;
  if (network.length() < largest || network.length() > smallest) {
    return InvalidArgument(
        "tunnel network {}: the length must be {} to {}, so that {} blocks of "
        "two addresses fit",
        network.ToString(), largest, smallest, kBlocks);
  }
  if (address.is_unspecified() || address.is_loopback() ||
      address.is_multicast()) {
    return InvalidArgument("tunnel network {}: not usable for hosts",
                           network.ToString());
  }
  if (!address.is_ipv4() && (address.bytes()[0] & 0xfe) != 0xfc) {
    return InvalidArgument("tunnel network {}: not unique local (fc00::/7)",
                           network.ToString());
  }
  return Overlay(network);
}

int Overlay::block_bits() const {
  return network_.address().bits() - network_.length() - kBlockNumberBits;
}

IpAddress Overlay::EdgeAddress() const { return MappingAddress(0, 1); }

IpAddress Overlay::ControlAddress() const {
  return MappingAddress(0, MaxIndex() < 2 ? 0 : 2);
}

IpPrefix Overlay::BlockPrefix(uint32_t block) const {
  return IpPrefix(UplinkAddress(block), network_.length() + kBlockNumberBits);
}

IpAddress Overlay::UplinkAddress(uint32_t block) const {
  return MappingAddress(block, 0);
}

IpAddress Overlay::MappingAddress(uint32_t block, uint32_t index) const {
  return network_.address().Plus(block, block_bits()).Plus(index);
}

uint32_t Overlay::MaxIndex() const {
  constexpr int kIndexBits = std::numeric_limits<uint32_t>::digits;
  if (block_bits() >= kIndexBits) return std::numeric_limits<uint32_t>::max();
  return (uint32_t{1} << block_bits()) - 1;
}

}  // namespace edged::protocol
