#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "common/netlink/route_events.h"
#include "common/status.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/netlink/veth_pair.h"

namespace edged::netlink {
namespace {

// What is waiting, without the objects that IPv6 makes by itself. The carrier
// of a new link is told late: such lines may stand between the others.
std::string Drain(RouteEvents& events) {
  std::string text;
  const absl::Status status = events.Read([&text](const RouteEvent& event) {
    const std::string line = DescribeEvent(event);
    if (line.find("fe80") == std::string::npos &&
        line.find("ff00") == std::string::npos) {
      text += line + "\n";
    }
  });
  CHECK(status.ok());
  return text;
}

TEST_CASE("route_events: tells each kind of change", "[route_events]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  auto events = RouteEvents::Open();
  REQUIRE(events.ok());
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  CHECK_THAT(Drain(*events),
             Catch::Contains(fmt::format("link near ({})\n", *near)) &&
                 Catch::Contains(
                     fmt::format("address 10.9.0.1/24 on link {}\n", *near)));

  const Route route{.destination = Prefix("10.200.0.0/22"), .link = *near};
  CHECK(rtnetlink.ReplaceRoute(route).ok());
  CHECK_THAT(Drain(*events),
             Catch::Contains("route 10.200.0.0/22 table 254 protocol 237\n"));
  CHECK(rtnetlink.RemoveRoute(route).ok());
  CHECK_THAT(
      Drain(*events),
      Catch::Contains("removed: route 10.200.0.0/22 table 254 protocol 237\n"));

  Route blackhole = route;
  blackhole.kind = RouteKind::kBlackhole;
  blackhole.link = 0;
  CHECK(rtnetlink.ReplaceRoute(blackhole).ok());
  CHECK(rtnetlink.RemoveRoute(blackhole).ok());
  CHECK_THAT(
      Drain(*events),
      Catch::Contains("blackhole route 10.200.0.0/22 table 254 protocol 237\n"
                      "removed: blackhole route 10.200.0.0/22 table 254 "
                      "protocol 237\n"));

  const Rule rule{.priority = 900, .mark = 5, .mask = 0xff, .table = 254};
  CHECK(rtnetlink.AddRule(rule).ok());
  CHECK(rtnetlink.RemoveRule(rule).ok());
  CHECK_THAT(Drain(*events),
             Catch::Contains(
                 "rule 900: from all fwmark 0x5/0xff lookup 254 protocol 237\n"
                 "removed: rule 900: from all fwmark 0x5/0xff lookup 254 "
                 "protocol 237\n"));

  CHECK(rtnetlink.SetIpv4Conf(*near, {.forwarding = true}).ok());
  CHECK_THAT(Drain(*events), Catch::Contains("near"));

  CHECK(rtnetlink.DeleteLink("near").ok());
  CHECK_THAT(Drain(*events),
             Catch::Contains(fmt::format("removed: link near ({})\n", *near)));
  CHECK(Drain(*events).empty());
}

TEST_CASE("route_events: tells who changed what, and settings by /proc",
          "[route_events]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  auto events = RouteEvents::Open();
  REQUIRE(events.ok());
  CHECK(
      rtnetlink
          .ReplaceRoute({.destination = Prefix("10.200.0.0/22"), .link = *near})
          .ok());
  uint32_t port = 0;
  const absl::Status read = events->Read([&port](const RouteEvent& event) {
    if (event.port != 0) port = event.port;  // 0: the kernel's own
  });
  CHECK(read.ok());
  CHECK(port == rtnetlink.socket().port());

  if (::access("/proc/sys/net/ipv4/ip_forward", W_OK) != 0) {
    std::printf("SKIPPED: /proc/sys is read-only\n");
    return;
  }
  std::ofstream("/proc/sys/net/ipv4/conf/near/forwarding") << "1";
  std::ofstream("/proc/sys/net/ipv4/conf/near/rp_filter") << "1";
  CHECK_THAT(Drain(*events),
             Catch::Contains(fmt::format("settings of link {0} forwarding 1\n"
                                         "settings of link {0} rp_filter 1\n",
                                         *near)));
}

TEST_CASE("rtnetlink: tells the route in its table that a packet matches",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  REQUIRE(rtnetlink
              .ReplaceRoute({.destination = Prefix("192.0.2.0/24"),
                             .link = *near,
                             .table = 51900})
              .ok());
  REQUIRE(::system("ip rule add pref 900 to 192.0.2.0/25 lookup 51900 && "
                   "ip rule add pref 901 to 192.0.2.128/26 prohibit && "
                   "ip route add blackhole 192.0.2.200/32") == 0);
  const auto route = rtnetlink.Match({.destination = Ip("192.0.2.7")});
  REQUIRE(route.status() == absl::OkStatus());
  CHECK(route->destination == Prefix("192.0.2.0/24"));
  CHECK(route->table == 51900);
  CHECK(route->link == *near);
  for (const char* refused : {"192.0.2.129", "192.0.2.200", "192.0.2.201"}) {
    CHECK(absl::IsNotFound(
        rtnetlink.Match({.destination = Ip(refused)}).status()));
  }
}

}  // namespace
}  // namespace edged::netlink
