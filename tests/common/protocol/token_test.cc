#include "common/protocol/token.h"

#include <sodium.h>

#include <catch2/catch.hpp>
#include <string>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

Token Example() {
  return {
      .id = "0123456789abcdef",
      .cluster_uid = "5b3f0c1e-7d8a-4b7e-9f55-0f6f3c1d2e4a",
      .edge = "fra1",
      .expires = std::chrono::sys_seconds(std::chrono::seconds(1'800'000'000)),
      .listen_port = 51820,
      .network = IpPrefix::Parse("10.200.0.0/22").value(),
      .edge_key =
          PrivateKey::Parse("XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=")
              .value(),
      .control_key =
          PublicKey::Parse("3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=")
              .value()};
}

std::string Decoded(std::string_view text) {
  const auto token = DecodeToken(text);
  return token.ok() ? "ok" : std::string(Message(token.status()));
}

// A token of any body whose checksum is right.
std::string Sealed(std::span<const uint8_t> body) {
  ByteWriter bytes(512);
  bytes.Raw(body);
  uint8_t hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(hash, body.data(), body.size());
  bytes.Raw(std::span(hash).first(8));
  char text[1024];
  sodium_bin2base64(text, sizeof text, bytes.view().data(), bytes.view().size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  return "edged1." + std::string(text);
}

TEST_CASE("token: round-trips as one word", "[token]") {
  for (const char* network : {"10.200.0.0/22", "fd00::/64"}) {
    Token token = Example();
    token.network = IpPrefix::Parse(network).value();
    const std::string text = Encode(token);
    CHECK(text.starts_with("edged1."));
    CHECK(text.find_first_not_of(kAlphabet, 7) == std::string::npos);
    CHECK(DecodeToken(text).value() == token);
  }
  Token old = Example();
  old.expires = std::chrono::sys_seconds(std::chrono::seconds(-1));
  CHECK(DecodeToken(Encode(old)).value() == old);
}

TEST_CASE("token: keeps its bytes from one version to the next", "[token]") {
  CHECK(Encode(Example()) ==
        "edged1.AAAAEDAxMjM0NTY3ODlhYmNkZWYAAAAkNWIzZjBjMWUtN2Q4YS00Y"
        "jdlLTlmNTUtMGY2ZjNjMWQyZTRhAAAABGZyYTEAAAAAa0nSAMpsBArIAAAWX"
        "asIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Oventt9e33BtNNbYcLs5"
        "DU3P4NDyFt4Z02t_H4Ub4grT4xbfA7BlW75");
}

TEST_CASE("token: notices damage at every character", "[token]") {
  const std::string text = Encode(Example());
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char other : kAlphabet) {
      if (other == text[i]) continue;
      std::string damaged = text;
      damaged[i] = other;
      if (Decoded(damaged) == "ok") FAIL("changed at " << i);
    }
    if (Decoded(text.substr(0, i)) == "ok") FAIL("cut at " << i);
    if (Decoded(text.substr(0, i) + text.substr(i + 1)) == "ok") {
      FAIL("left out at " << i);
    }
    if (Decoded(text.substr(0, i) + "A" + text.substr(i)) == "ok") {
      FAIL("put in at " << i);
    }
  }
  CHECK(Decoded(text) == "ok");
}

TEST_CASE("token: tells damage from another version, and quotes no secret",
          "[token]") {
  const std::string text = Encode(Example());
  CHECK(Decoded("") == "not a token: it does not begin with \"edged1.\"");
  CHECK(Decoded("hello") == "not a token: it does not begin with \"edged1.\"");
  CHECK(Decoded("edged.") == "not a token: it does not begin with \"edged1.\"");
  CHECK(Decoded("edged2." + text.substr(7)) ==
        "a token of another version (\"edged2.\"): this program reads "
        "\"edged1.\"");
  CHECK(Decoded("edged1.") ==
        "the token is damaged or incomplete: it is too short");
  CHECK(Decoded(text + "\n") ==
        "the token is damaged or incomplete: it is not base64url");
  CHECK(Decoded(text + "=") ==
        "the token is damaged or incomplete: it is not base64url");
  CHECK(Decoded(text.substr(0, 11) + "AAAA" + text.substr(15)) ==
        "the token is damaged or incomplete: its checksum is wrong");
  CHECK(Decoded("edged1." + std::string(5000, 'A')) ==
        "the token is damaged or incomplete: it is too long");
  CHECK(DecodeToken("").status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("token: refuses nonsense with a right checksum", "[token]") {
  constexpr std::string_view kLength =
      "the token is damaged or incomplete: its fields do not fit its length";
  constexpr std::string_view kField =
      "the token is damaged or incomplete: a field is empty or malformed";
  // Every cut of a good body.
  const std::string text = Encode(Example());
  std::string bytes(text.size(), '\0');
  size_t size = 0;
  REQUIRE(sodium_base642bin(reinterpret_cast<uint8_t*>(bytes.data()),
                            bytes.size(), text.data() + 7, text.size() - 7,
                            nullptr, &size, nullptr,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0);
  bytes.resize(size - 8);
  REQUIRE(Decoded(Sealed(AsBytes(bytes))) == "ok");
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    CHECK(Decoded(Sealed(AsBytes(bytes).first(cut))) == kLength);
  }
  CHECK(Decoded(Sealed(AsBytes(bytes + "x"))) == kLength);

  const auto changed = [](auto change) {
    Token token = Example();
    change(token);
    return Decoded(Encode(token));
  };
  CHECK(changed([](Token&) {}) == "ok");
  CHECK(changed([](Token& t) { t.id = "0123"; }) == kField);
  CHECK(changed([](Token& t) { t.id = "0123456789ABCDEF"; }) == kField);
  CHECK(changed([](Token& t) { t.cluster_uid.clear(); }) == kField);
  CHECK(changed([](Token& t) { t.edge.clear(); }) == kField);
  CHECK(changed([](Token& t) { t.listen_port = 0; }) == kField);
  CHECK(changed([](Token& t) { t.edge_key = PrivateKey(); }) == kField);
  CHECK(changed([](Token& t) { t.control_key = PublicKey(); }) == kField);

  // Beyond the clock's nanoseconds: 1677 to 2262.
  for (const int64_t time : {INT64_MAX, INT64_MIN, INT64_C(9'223'372'037)}) {
    CHECK(changed([time](Token& t) {
            t.expires = std::chrono::sys_seconds(std::chrono::seconds(time));
          }) == "the token is damaged or incomplete: its expiry is no time");
  }

  // The prefix lies before the two keys: family, 4 bytes, length.
  const size_t length = bytes.size() - 65;
  std::string host_bits = bytes;
  host_bits[length - 1] = 1;
  std::string too_long = bytes;
  too_long[length] = 33;
  for (const std::string& body : {host_bits, too_long}) {
    CHECK(Decoded(Sealed(AsBytes(body))) ==
          "the token is damaged or incomplete: its network is not a prefix");
  }
}

}  // namespace
}  // namespace edged::protocol
