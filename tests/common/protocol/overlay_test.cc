#include "common/protocol/overlay.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "common/status.h"

namespace edged::protocol {
namespace {

IpPrefix Prefix(std::string_view text) { return IpPrefix::Parse(text).value(); }

// The addresses of an overlay on one line, or why there is none.
std::string Describe(std::string_view network) {
  const auto overlay = Overlay::Create(Prefix(network));
  if (!overlay.ok()) return std::string(Message(overlay.status()));
  return fmt::format(
      "edge {} control {} block1 {} last {} up63 {} max {}",
      overlay->EdgeAddress().ToString(), overlay->ControlAddress().ToString(),
      overlay->BlockPrefix(1).ToString(),
      overlay->MappingAddress(63, overlay->MaxIndex()).ToString(),
      overlay->UplinkAddress(63).ToString(), overlay->MaxIndex());
}

TEST_CASE("overlay: cuts a network into 64 blocks", "[overlay]") {
  CHECK(Describe("10.200.0.0/22") ==
        "edge 10.200.0.1 control 10.200.0.2 block1 10.200.0.16/28 "
        "last 10.200.3.255 up63 10.200.3.240 max 15");
  CHECK(Describe("10.200.64.0/18") ==
        "edge 10.200.64.1 control 10.200.64.2 block1 10.200.65.0/24 "
        "last 10.200.127.255 up63 10.200.127.0 max 255");
  CHECK(Describe("10.0.1.0/24") ==
        "edge 10.0.1.1 control 10.0.1.2 block1 10.0.1.4/30 "
        "last 10.0.1.255 up63 10.0.1.252 max 3");
  CHECK(Describe("10.200.0.0/16") ==
        "edge 10.200.0.1 control 10.200.0.2 block1 10.200.4.0/22 "
        "last 10.200.255.255 up63 10.200.252.0 max 1023");
}

TEST_CASE("overlay: has room for one index in a /25", "[overlay]") {
  CHECK(Describe("10.0.1.128/25") ==
        "edge 10.0.1.129 control 10.0.1.128 block1 10.0.1.130/31 "
        "last 10.0.1.255 up63 10.0.1.254 max 1");
}

TEST_CASE("overlay: cuts IPv6 networks, too", "[overlay]") {
  CHECK(Describe("fd00:1:2:3::/64") ==
        "edge fd00:1:2:3::1 control fd00:1:2:3::2 "
        "block1 fd00:1:2:3:400::/70 "
        "last fd00:1:2:3:fc00:0:ffff:ffff up63 fd00:1:2:3:fc00:: "
        "max 4294967295");
  CHECK(Describe("fd00::80/121") ==
        "edge fd00::81 control fd00::80 block1 fd00::82/127 last fd00::ff "
        "up63 fd00::fe max 1");
  CHECK(Describe("fd00::/96") ==
        "edge fd00::1 control fd00::2 block1 fd00::400:0/102 "
        "last fd00::ffff:ffff up63 fd00::fc00:0 max 67108863");
}

TEST_CASE("overlay: keeps every address inside its block", "[overlay]") {
  for (const char* network : {"10.200.0.0/22", "10.0.1.128/25", "10.0.1.0/24",
                              "fd00:1:2:3::/64", "fd00::80/121"}) {
    const auto overlay = Overlay::Create(Prefix(network)).value();
    for (uint32_t block = 0; block < kBlocks; ++block) {
      const IpPrefix prefix = overlay.BlockPrefix(block);
      CHECK(overlay.network().Contains(prefix));
      CHECK(prefix.Contains(overlay.UplinkAddress(block)));
      CHECK(prefix.Contains(overlay.MappingAddress(block, overlay.MaxIndex())));
      if (block > 0) {
        CHECK_FALSE(prefix.Overlaps(overlay.BlockPrefix(block - 1)));
      }
    }
    CHECK(overlay.BlockPrefix(0).Contains(overlay.EdgeAddress()));
    CHECK(overlay.BlockPrefix(0).Contains(overlay.ControlAddress()));
    CHECK_FALSE(overlay.EdgeAddress() == overlay.ControlAddress());
  }
}

TEST_CASE("overlay: a cluster's IPv6 networks are its own and all differ",
          "[overlay]") {
  const auto text = [](std::string_view uid, uint16_t subnet) {
    return UniqueLocalNetwork(uid, subnet).ToString();
  };
  // printf %s "edged overlay c1" | sha256sum
  CHECK(text("c1", 1) == "fd6a:3863:fc1a:1::/64");
  CHECK(text("c1", 0xabcd) == "fd6a:3863:fc1a:abcd::/64");
  CHECK(text("c2", 1).substr(0, 14) != text("c1", 1).substr(0, 14));
  CHECK(Overlay::Create(UniqueLocalNetwork("c1", 65535)).ok());
}

TEST_CASE("overlay: refuses networks that do not fit", "[overlay]") {
  for (const char* network : {"10.0.0.0/26", "10.0.0.0/31", "10.0.0.1/32",
                              "10.0.0.0/15", "0.0.0.0/0"}) {
    CHECK(Describe(network) ==
          fmt::format("tunnel network {}: the length must be 16 to 25, so that "
                      "64 blocks of two addresses fit",
                      network));
  }
  for (const char* network : {"fd00::/122", "fd00::1/128", "fd00::/47"}) {
    CHECK(Describe(network) ==
          fmt::format("tunnel network {}: the length must be 48 to 121, so "
                      "that 64 blocks of two addresses fit",
                      network));
  }
  for (const char* network :
       {"0.0.0.0/22", "127.0.0.0/22", "224.0.0.0/22", "::/64", "ff00::/64"}) {
    CHECK(Describe(network) ==
          fmt::format("tunnel network {}: not usable for hosts", network));
  }
  for (const char* network : {"2001:db8::/64", "fe80::/64"}) {
    CHECK(
        Describe(network) ==
        fmt::format("tunnel network {}: not unique local (fc00::/7)", network));
  }
}

}  // namespace
}  // namespace edged::protocol
