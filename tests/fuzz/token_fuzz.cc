// A token that somebody pastes into `edged join`. The input is taken twice: as
// the text, and as a body that gets the right checksum, as from an agent that
// was changed.

#include <sodium.h>

#include <array>
#include <chrono>

#include "common/protocol/bytes.h"
#include "common/protocol/token.h"
#include "common/status.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

constexpr std::string_view kPrefix = "edged1.";
constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

// What a good decoder does with a token that it took.
bool TryText(std::string_view text) {
  const auto token = protocol::DecodeToken(text);
  if (!token.ok()) {
    Require(!Message(token.status()).empty(), "a refusal says why");
    return false;
  }
  Require(protocol::Encode(*token) == text, "one token has one text");
  // As `edged join` judges and prints it.
  const auto now = std::chrono::system_clock::time_point(
      std::chrono::seconds(1'700'000'000));
  const auto left =
      std::chrono::duration_cast<std::chrono::seconds>(token->expires - now);
  Require((token->expires <= now) == (left.count() <= 0),
          "a token expires at one moment");
  Require(token->network ==
              IpPrefix(token->network.address(), token->network.length()),
          "a token's network is a prefix");
  return true;
}

std::string WithChecksum(Input body) {
  std::array<uint8_t, crypto_hash_sha256_BYTES> hash;
  crypto_hash_sha256(hash.data(), body.data(), body.size());
  std::vector<uint8_t> bytes(body.begin(), body.end());
  bytes.insert(bytes.end(), hash.begin(), hash.begin() + 8);
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(),
                    kVariant);
  text.pop_back();
  return std::string(kPrefix) + text;
}

protocol::Token SampleToken(std::string_view network) {
  std::array<uint8_t, kKeySize> key;
  key.fill(0x40);
  return {
      .id = "0123456789abcdef",
      .cluster_uid = "b6f0a1f4-4b5e-4d5a-9d0c-0f5a2d6f1c11",
      .edge = "fra1",
      .expires = std::chrono::sys_seconds(std::chrono::seconds(1'800'000'000)),
      .listen_port = 51820,
      .network = *IpPrefix::Parse(network),
      .edge_key = PrivateKey(key),
      .control_key = PublicKey(key)};
}

// The body without its checksum.
std::string BodyOf(const protocol::Token& token) {
  const std::string text = protocol::Encode(token).substr(kPrefix.size());
  std::string body(text.size(), '\0');
  size_t length = 0;
  const int failed = sodium_base642bin(
      reinterpret_cast<unsigned char*>(body.data()), body.size(), text.data(),
      text.size(), nullptr, &length, nullptr, kVariant);
  Require(failed == 0, "a token is base64url");
  body.resize(length - 8);
  return body;
}

}  // namespace

bool Try(Input input) {
  const bool as_text = TryText(AsText(input));
  const bool as_body = TryText(WithChecksum(input));
  return as_text || as_body;
}

std::vector<std::string> Seeds() {
  const auto ipv4 = SampleToken("10.200.0.0/22");
  const auto ipv6 = SampleToken("fd00:1234::/64");
  return {protocol::Encode(ipv4), protocol::Encode(ipv6), BodyOf(ipv4),
          BodyOf(ipv6)};
}

}  // namespace edged::fuzz
