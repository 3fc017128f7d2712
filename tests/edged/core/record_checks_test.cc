#include "edged/core/record_checks.h"

#include <catch2/catch.hpp>
#include <utility>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

const protocol::Settings kSettings = SampleState().settings;

std::map<std::string, protocol::Uplink> Uplinks(
    std::vector<protocol::Uplink> more = {}) {
  std::map<std::string, protocol::Uplink> uplinks;
  for (const auto& uplink : SampleState().uplinks) {
    uplinks[uplink.name] = uplink;
  }
  for (const auto& uplink : more) uplinks[uplink.name] = uplink;
  return uplinks;
}

TEST_CASE("record_checks: what is in order passes", "[record_checks]") {
  CHECK(CheckSettings(kSettings, SampleLimits()).ok());
  CHECK(CheckSettings({}, SampleLimits()).ok());
  CHECK(CheckUplinks(Uplinks()).ok());
  for (const auto& group : SampleState().groups) {
    CHECK(CheckGroupName(group.name).ok());
    CHECK(CheckGroup(group, kSettings, Uplinks()).ok());
  }
}

TEST_CASE("record_checks: settings name each address once, and where it is",
          "[record_checks]") {
  const auto fault = [](auto change) {
    protocol::Settings settings = kSettings;
    change(settings);
    return std::string(CheckSettings(settings, SampleLimits()).message());
  };
  CHECK(fault([](auto& s) { s.public_addresses[1].index = 1; }) ==
        "public addresses 203.0.113.1 and 203.0.113.2 both have index 1");
  CHECK(fault([](auto& s) { s.public_addresses[1].index = 16; }) ==
        "public address 203.0.113.2 has index 16: overlay network "
        "10.200.0.0/22 has 1 to 15");
  CHECK(fault([](auto& s) { s.public_addresses[0].index = 0; }) ==
        "public address 203.0.113.1 has index 0: overlay network 10.200.0.0/22 "
        "has 1 to 15");
  CHECK(fault([](auto& s) {
          s.public_addresses[1].address = Ip("127.0.0.1");
        }) == "public address 127.0.0.1 cannot be reached from outside");
  CHECK(fault([](auto& s) {
          std::swap(s.public_addresses[0], s.public_addresses[1]);
        }) == "public addresses 203.0.113.2 and 203.0.113.1 are not sorted");
  CHECK(fault([](auto& s) { s.public_addresses[0].nic_address = Ip("::1"); }) ==
        "public address 203.0.113.1 has nicAddress ::1: two families");
  CHECK(fault([](auto& s) { s.network6 = Net("10.201.0.0/22"); }) ==
        "network6 10.201.0.0/22 is not an IPv6 network");
}

TEST_CASE("record_checks: settings are such as work", "[record_checks]") {
  const auto fault = [](auto change) {
    protocol::Settings settings = kSettings;
    change(settings);
    return std::string(CheckSettings(settings, SampleLimits()).message());
  };
  CHECK(fault([](auto& s) { s.mtu = 100; }) ==
        "tunnel MTU 100 is not 576 to 65535");
  CHECK(fault([](auto& s) { s.unhealthy_threshold = 0; }) ==
        "heartbeat interval 250 ms and threshold 0 must not be zero");
}

TEST_CASE("record_checks: uplinks share neither block nor key",
          "[record_checks]") {
  const auto fault = [](const protocol::Uplink& uplink) {
    return std::string(CheckUplinks(Uplinks({uplink})).message());
  };
  CHECK(fault({"d", Key(4), 4}) == "");
  CHECK(fault({"d", Key(4), 0}) == "uplink d has block 0: 1 to 63 exist");
  CHECK(fault({"d", Key(4), 64}) == "uplink d has block 64: 1 to 63 exist");
  CHECK(fault({"d", Key(4), 3}) == "uplinks c and d both have block 3");
  CHECK(fault({"d", Key(1), 4}) == "uplinks a and d both have key AQEBAQEB");
  CHECK(fault({"d", PublicKey(), 4}) == "uplink \"d\" has no name or no key");
  CHECK(fault({std::string(254, 'd'), Key(4), 4}) ==
        "uplink dddddddddddddddddddddddddddddddd... has a name of more than "
        "253 bytes");
}

TEST_CASE("record_checks: a group names what there is, in order",
          "[record_checks]") {
  const auto fault = [](auto change) {
    protocol::Group group{
        .name = "g1", .public_address = Ip("203.0.113.1"), .uplinks = {"a"}};
    change(group);
    return std::string(CheckGroup(group, kSettings, Uplinks()).message());
  };
  CHECK(fault([](auto& g) {
          g.uplinks = {"a", "z"};
        }) == "group g1 names uplink z, which is unknown");
  CHECK(fault([](auto& g) {
          g.uplinks = {"b", "a"};
        }) == "group g1 does not name its uplinks in order");
  CHECK(fault([](auto& g) { g.public_address = Ip("203.0.113.9"); }) ==
        "group g1 is of public address 203.0.113.9, which is unknown");
  CHECK(fault([](auto& g) {
          g.timeouts.udp_session = std::chrono::hours(24 * 25);
        }) == "group g1 has a timeout of 2160000 s, which is not 1 to 2073600");
  const auto of_prefixes = [&fault](size_t count) {
    return fault(
        [count](auto& g) { g.access.deny.assign(count, Net("192.0.2.0/24")); });
  };
  CHECK(of_prefixes(1) == "");
  CHECK(of_prefixes(2) == "group g1 does not name its clients in order");
  CHECK(of_prefixes(1'025) ==
        "group g1 names 1025 prefixes of clients, more than 1024");
}

TEST_CASE("record_checks: a group's name is one that nft reads",
          "[record_checks]") {
  CHECK(CheckGroupName("g-1_x.Y").ok());
  CHECK(CheckGroupName(std::string(100, 'g')).ok());
  CHECK(!CheckGroupName(std::string(101, 'g')).ok());
  CHECK(CheckGroupName("").message() == "\"\" cannot be the name of a group");
  CHECK(CheckGroupName("a b").message() ==
        "\"a b\" cannot be the name of a group");
}

}  // namespace
}  // namespace edged::edge
