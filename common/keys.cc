#include "common/keys.h"

#include <sodium.h>

#include <algorithm>

#include "common/status.h"

namespace edged {
namespace {

std::string Base64(std::span<const uint8_t, kKeySize> bytes) {
  char
      text[sodium_base64_ENCODED_LEN(kKeySize, sodium_base64_VARIANT_ORIGINAL)];
  sodium_bin2base64(text, sizeof text, bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  std::string result(text);
  sodium_memzero(text, sizeof text);
  return result;
}

bool FromBase64(std::string_view text, std::array<uint8_t, kKeySize>& bytes) {
  size_t length = 0;
  const char* end = nullptr;
  return text.size() == 44 &&
         sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(),
                           nullptr, &length, &end,
                           sodium_base64_VARIANT_ORIGINAL) == 0 &&
         length == kKeySize && end == text.data() + text.size();
}

}  // namespace

PublicKey::PublicKey(std::span<const uint8_t, kKeySize> bytes) {
  std::ranges::copy(bytes, bytes_.begin());
}

absl::StatusOr<PublicKey> PublicKey::Parse(std::string_view base64) {
  PublicKey key;
  if (!FromBase64(base64, key.bytes_)) {
    return InvalidArgument("\"{}\" is not a public key (base64 of 32 bytes)",
                           base64);
  }
  return key;
}

std::string PublicKey::ToString() const { return Base64(bytes_); }

std::string PublicKey::Short() const { return ToString().substr(0, 8); }

PrivateKey::PrivateKey(std::span<const uint8_t, kKeySize> bytes) {
  std::ranges::copy(bytes, bytes_.begin());
}

PrivateKey::~PrivateKey() { sodium_memzero(bytes_.data(), bytes_.size()); }

PrivateKey PrivateKey::Generate() {
  PrivateKey key;
  randombytes_buf(key.bytes_.data(), key.bytes_.size());
  key.bytes_[0] &= 248;  // clamped as Curve25519 wants it (RFC 7748, section 5)
  key.bytes_[31] = (key.bytes_[31] & 127) | 64;
  return key;
}

absl::StatusOr<PrivateKey> PrivateKey::Parse(std::string_view base64) {
  PrivateKey key;
  if (!FromBase64(base64, key.bytes_)) {
    return InvalidArgument("not a private key (base64 of 32 bytes)");
  }
  return key;
}

PublicKey PrivateKey::Public() const {
  std::array<uint8_t, kKeySize> result{};
  crypto_scalarmult_base(result.data(), bytes_.data());
  return PublicKey(result);
}

std::string PrivateKey::Reveal() const { return Base64(bytes_); }

bool PrivateKey::operator==(const PrivateKey& other) const {
  return sodium_memcmp(bytes_.data(), other.bytes_.data(), kKeySize) == 0;
}

}  // namespace edged
