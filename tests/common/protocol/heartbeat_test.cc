#include "common/protocol/heartbeat.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

Heartbeat Example() {
  Heartbeat heartbeat{.sequence = 0x0102030405060708, .draining = true};
  heartbeat.applied.Add(Uplink{.name = "a"});
  return heartbeat;
}

std::string Decoded(std::string_view bytes) {
  const auto heartbeat = DecodeHeartbeat(AsBytes(bytes));
  return heartbeat.ok() ? "ok" : std::string(Message(heartbeat.status()));
}

TEST_CASE("heartbeat: has a fixed layout", "[heartbeat]") {
  const Heartbeat heartbeat = Example();
  const std::string bytes = Encode(heartbeat);
  REQUIRE(bytes.size() == 46);
  CHECK(bytes.substr(0, 14) ==
        std::string("edhb\x01\x02\x01\x02\x03\x04\x05\x06\x07\x08", 14));
  const auto digest = heartbeat.applied.bytes();
  CHECK(bytes.substr(14) == std::string(digest.begin(), digest.end()));
}

TEST_CASE("heartbeat: round-trips", "[heartbeat]") {
  for (const bool ready : {false, true}) {
    for (const bool draining : {false, true}) {
      for (const uint64_t sequence : {uint64_t{0}, ~uint64_t{0}}) {
        Heartbeat heartbeat = Example();
        heartbeat.ready = ready;
        heartbeat.draining = draining;
        heartbeat.sequence = sequence;
        CHECK(DecodeHeartbeat(AsBytes(Encode(heartbeat))).value() == heartbeat);
      }
    }
  }
}

TEST_CASE("heartbeat: refuses other sizes, versions and magics",
          "[heartbeat]") {
  const std::string whole = Encode(Example());
  for (size_t size = 0; size < whole.size(); ++size) {
    CHECK(Decoded(whole.substr(0, size)) != "ok");
  }
  CHECK(Decoded(whole) == "ok");
  CHECK(Decoded(whole.substr(0, 45)) == "a heartbeat has 46 bytes, not 45");
  CHECK(Decoded(whole + "x") == "a heartbeat has 46 bytes, not 47");
  CHECK(Decoded("") == "not a heartbeat: 0 bytes without its magic");
  CHECK(Decoded("xdhb" + whole.substr(4)) ==
        "not a heartbeat: 46 bytes without its magic");
  std::string newer = whole + "more";
  newer[4] = 2;
  CHECK(Decoded(newer) == "heartbeat of version 2, not 1");
}

TEST_CASE("heartbeat: ignores flags of a newer sender", "[heartbeat]") {
  std::string bytes = Encode(Example());
  bytes[5] = static_cast<char>(bytes[5] | 0xfc);
  CHECK(DecodeHeartbeat(AsBytes(bytes)).value() == Example());
}

}  // namespace
}  // namespace edged::protocol
