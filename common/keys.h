#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// Curve25519 keys as WireGuard uses them, written as base64 of 32 bytes.

namespace edged {

inline constexpr size_t kKeySize = 32;

class PublicKey {
 public:
  PublicKey() = default;  // all zero: no key
  explicit PublicKey(std::span<const uint8_t, kKeySize> bytes);
  static absl::StatusOr<PublicKey> Parse(std::string_view base64);

  std::span<const uint8_t, kKeySize> bytes() const { return bytes_; }
  bool is_zero() const { return *this == PublicKey(); }
  std::string ToString() const;  // base64, 44 characters
  std::string Short() const;     // its first 8 characters, for logs
  auto operator<=>(const PublicKey&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const PublicKey& key) {
    return H::combine(std::move(state), key.bytes_);
  }

 private:
  std::array<uint8_t, kKeySize> bytes_{};
};

// A secret: it has no ToString, is wiped when it goes, and compares in
// constant time. Reveal() is for key files and WireGuard's own interfaces only.
class PrivateKey {
 public:
  PrivateKey() = default;  // all zero: no key
  explicit PrivateKey(std::span<const uint8_t, kKeySize> bytes);
  PrivateKey(const PrivateKey&) = default;
  PrivateKey& operator=(const PrivateKey&) = default;
  ~PrivateKey();

  static PrivateKey Generate();
  // The error does not repeat the text.
  static absl::StatusOr<PrivateKey> Parse(std::string_view base64);

  PublicKey Public() const;
  std::span<const uint8_t, kKeySize> bytes() const { return bytes_; }
  bool is_zero() const { return *this == PrivateKey(); }
  std::string Reveal() const;  // base64
  bool operator==(const PrivateKey& other) const;

 private:
  std::array<uint8_t, kKeySize> bytes_{};
};

}  // namespace edged
