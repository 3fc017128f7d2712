#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/net_types.h"

namespace edged::protocol {

inline constexpr uint16_t kApiPort = 7443;  // TCP: gRPC; UDP: heartbeats
inline constexpr uint16_t kDefaultListenPort = 51820;
inline constexpr uint32_t kBlocks = 64;

// The /64 of number `subnet` in the unique local prefix (RFC 4193) of a
// cluster, whose 40 random bits are a hash of its uid.
IpPrefix UniqueLocalNetwork(std::string_view cluster_uid, uint16_t subnet);

// The addresses of one edge's overlay network, cut into 64 equal blocks. Block
// 0 is the edge's own; block b belongs to one uplink: index 0 is its own
// address, index k the mapping address of the edge's k-th public address.
class Overlay {
 public:
  // InvalidArgument when `network` is smaller than 64 blocks of two addresses
  // (an IPv4 /25, an IPv6 /121), larger than an IPv4 /16 or an IPv6 /48,
  // unspecified, loopback or multicast, or IPv6 that is not unique local: an
  // overlay takes nobody's public addresses.
  static absl::StatusOr<Overlay> Create(const IpPrefix& network);

  const IpPrefix& network() const { return network_; }
  bool operator==(const Overlay&) const = default;
  IpAddress EdgeAddress() const;  // block 0, index 1: API and heartbeats
  // Block 0, index 2 (index 0 in a /25): who introduces itself uses it.
  IpAddress ControlAddress() const;
  IpPrefix BlockPrefix(uint32_t block) const;
  IpAddress UplinkAddress(uint32_t block) const;
  IpAddress MappingAddress(uint32_t block, uint32_t index) const;
  // The highest index of a public address: 15 in a /22, 1 in a /25.
  uint32_t MaxIndex() const;

 private:
  explicit Overlay(const IpPrefix& network) : network_(network) {}
  int block_bits() const;

  IpPrefix network_;
};

}  // namespace edged::protocol
