#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/protocol/records.h"

namespace edged::protocol {

// A digest of a set of records: the sum modulo 2^256 of SHA-256 over each
// record's canonical bytes, so that it does not depend on their order and one
// record is added or taken away in constant time. Equal digests, equal states.
//
// Canonical bytes: one letter for the kind, then the fields in the order below
// in the form of common/protocol/bytes.h; lists have a 32 bit count in front
// and keep the order that records.h prescribes. Both ends and the state files
// depend on them: a change needs a feature of its own in Hello.
//   S  list of {address, interface string, nic_address (byte 0, or byte 1 and
//      address), index 32}, mtu 32, heartbeat interval in ms 64, threshold 32
//   U  name string, key 32 bytes, block 32
//   G  name string, public address, affinity 8, list of uplink strings; with
//      timeouts also: TCP idle in s 32, UDP session in s 32
//   M  public address, protocol 8, first 16, last 16, group string
class Digest {
 public:
  void Add(const Settings& settings);
  void Add(const Uplink& uplink);
  void Add(const Group& group);
  void Add(const Mapping& mapping);
  void Remove(const Settings& settings);
  void Remove(const Uplink& uplink);
  void Remove(const Group& group);
  void Remove(const Mapping& mapping);

  // 32 bytes, most significant first.
  const std::array<uint8_t, 32>& bytes() const { return sum_; }
  static absl::StatusOr<Digest> FromBytes(std::string_view bytes);
  std::string ToString() const;  // hexadecimal
  std::string Short() const;     // the first 8 digits
  auto operator<=>(const Digest&) const = default;

 private:
  void AddHash(const std::array<uint8_t, 32>& hash);
  void RemoveHash(const std::array<uint8_t, 32>& hash);

  std::array<uint8_t, 32> sum_{};
};

Digest DigestOf(const EdgeState& state);

}  // namespace edged::protocol
