#include "common/keys.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace edged {
namespace {

// Bob's keys of RFC 7748, section 6.1.
constexpr std::string_view kPrivate =
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";
constexpr std::string_view kPublic =
    "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

// What is no key: wrong length, alphabet, padding or spare bits.
const std::vector<std::string> kNotKeys = {
    "",
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4O==",
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os",
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=\n",
    " XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os",
    "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os=",
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Ot=",
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4OsA",
    std::string(44, '='),
    std::string(88, 'A'),
};

TEST_CASE("keys: derives the public key of RFC 7748", "[keys]") {
  const auto key = PrivateKey::Parse(kPrivate);
  REQUIRE(key.ok());
  CHECK(key->Reveal() == kPrivate);
  CHECK(key->Public().ToString() == kPublic);
}

TEST_CASE("keys: parses and prints a public key", "[keys]") {
  const auto key = PublicKey::Parse(kPublic);
  REQUIRE(key.ok());
  CHECK(key->ToString() == kPublic);
  CHECK(key->Short() == "3p7bfXt9");
  CHECK_FALSE(key->is_zero());
  CHECK(PublicKey(key->bytes()) == *key);
  CHECK(PublicKey().is_zero());
  CHECK(PublicKey() < *key);
}

TEST_CASE("keys: refuses what is no public key, and quotes it", "[keys]") {
  for (const std::string& text : kNotKeys) {
    CHECK(std::string(Message(PublicKey::Parse(text).status())) ==
          "\"" + text + "\" is not a public key (base64 of 32 bytes)");
  }
}

TEST_CASE("keys: refuses what is no private key, and does not quote it",
          "[keys]") {
  for (const std::string& text : kNotKeys) {
    CHECK(std::string(Message(PrivateKey::Parse(text).status())) ==
          "not a private key (base64 of 32 bytes)");
  }
}

TEST_CASE("keys: generates clamped keys that differ", "[keys]") {
  const PrivateKey one = PrivateKey::Generate();
  const PrivateKey two = PrivateKey::Generate();
  CHECK_FALSE(one == two);
  CHECK_FALSE(one.is_zero());
  CHECK((one.bytes()[0] & 7) == 0);
  CHECK((one.bytes()[31] & 0xc0) == 0x40);
  CHECK_FALSE(one.Public() == two.Public());
  CHECK(PrivateKey::Parse(one.Reveal()).value() == one);
}

TEST_CASE("keys: wipes a private key when it goes", "[keys]") {
  alignas(PrivateKey) std::array<uint8_t, sizeof(PrivateKey)> place{};
  auto* key = new (place.data()) PrivateKey(PrivateKey::Generate());
  CHECK(std::ranges::any_of(place, [](uint8_t byte) { return byte != 0; }));
  key->~PrivateKey();
  CHECK(std::ranges::all_of(place, [](uint8_t byte) { return byte == 0; }));
}

}  // namespace
}  // namespace edged
