#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/protocol/records.h"

namespace edged::protocol {

// A digest of a set of records: the sum modulo 2^256 of SHA-256 over each
// record's canonical bytes, so that it does not depend on their order and one
// record is added or taken away in constant time. Equal digests, equal states.
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
