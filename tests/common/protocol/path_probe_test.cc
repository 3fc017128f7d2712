#include "common/protocol/path_probe.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

const PathProbe kExample{
    .number = 0x0102030405060708, .uplink_mtu = 1440, .edge_mtu = 1216};

std::string Decoded(std::string_view bytes) {
  const auto probe = DecodePathProbe(AsBytes(bytes));
  return probe.ok() ? "ok" : std::string(Message(probe.status()));
}

TEST_CASE("path_probe: has a fixed layout", "[path_probe]") {
  CHECK(Encode(kExample, Family::kIpv4, 0) ==
        std::string("edpp\x01\x01\x02\x03\x04\x05\x06\x07\x08"
                    "\x00\x00\x05\xa0\x00\x00\x04\xc0",
                    21));
}

TEST_CASE("path_probe: makes packets of the size that is asked for",
          "[path_probe]") {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const uint32_t size : {576u, 1216u, 1440u, 65535u}) {
      const std::string bytes = Encode(kExample, family, size);
      CHECK(PacketSize(family, bytes.size()) == size);
      CHECK(DecodePathProbe(AsBytes(bytes)).value() == kExample);
    }
  }
  CHECK(PacketSize(Family::kIpv4, 0) == 28);
  CHECK(PacketSize(Family::kIpv6, 0) == 48);
}

TEST_CASE("path_probe: refuses short ones, versions and magics",
          "[path_probe]") {
  const std::string whole = Encode(kExample, Family::kIpv4, 0);
  for (size_t size = 0; size < whole.size(); ++size) {
    CHECK(Decoded(whole.substr(0, size)) != "ok");
  }
  CHECK(Decoded(whole.substr(0, 20)) ==
        "a path probe has 21 bytes at least, not 20");
  CHECK(Decoded("edhb" + whole.substr(4)) ==
        "not a path probe: 21 bytes without its magic");
  std::string newer = whole;
  newer[4] = 2;
  CHECK(Decoded(newer) == "path probe of version 2, not 1");
}

}  // namespace
}  // namespace edged::protocol
