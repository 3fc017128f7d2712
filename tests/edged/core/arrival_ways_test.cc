#include "edged/core/arrival_ways.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using netlink::Route;

// 203.0.113.1 on eth0, which has the default route, and 203.0.113.2 on eth1,
// whose gateway no route names.
ObservedRoutes TwoInterfaces() {
  return {
      .links = {{.index = 1, .name = "lo", .up = true, .loopback = true},
                {.index = 2, .name = "eth0", .mtu = 1500, .up = true},
                {.index = 3, .name = "eth1", .mtu = 1500, .up = true},
                {.index = 4, .name = "eth2", .mtu = 1500, .up = true},
                {.index = 7, .name = "edged0", .kind = "wireguard"}},
      .routes = {
          {.destination = Net("0.0.0.0/0"),
           .link = 2,
           .gateway = Ip("203.0.113.126"),
           .protocol = 4},
          {.destination = Net("203.0.113.0/25"), .link = 2, .protocol = 2},
          {.destination = Net("203.0.113.128/25"), .link = 3, .protocol = 2}}};
}

Route Default(int link, std::string_view gateway, uint32_t table = 254,
              uint32_t metric = 0) {
  const IpAddress address = Ip(gateway);
  return {.destination = Net(address.is_ipv4() ? "0.0.0.0/0" : "::/0"),
          .link = link,
          .gateway = address,
          .table = table,
          .protocol = 4,
          .priority = metric};
}

HostFacts FactsOf(const ObservedRoutes& observed) {
  HostFacts facts = DualFacts();
  facts.nic_addresses[Ip("203.0.113.2")] = {Ip("203.0.113.2"), "eth1", 3};
  FindArrivalWays(DualState().settings, observed, facts);
  return facts;
}

// "203.0.113.128/25 dev 3 table 60929", one line each.
std::string Routes(const HostFacts& facts, const ObservedRoutes& observed) {
  std::string text;
  for (const Route& route : RoutesOfWays(facts, observed)) {
    if (route.kind == netlink::RouteKind::kThrow) {
      // Whatever is for uplinks is not for this table.
      CHECK(route.destination ==
            facts.OverlayOf(route.destination.family())->network());
      continue;
    }
    text += route.destination.ToString();
    if (route.gateway) text += " via " + route.gateway->ToString();
    text += fmt::format(" dev {} table {}{}\n", route.link, route.table,
                        route.onlink ? " onlink" : "");
    // Where the way to the gateway stands is the host's affair.
    CHECK(route.onlink == route.gateway.has_value());
  }
  return text;
}

std::string Routes(const ObservedRoutes& observed) {
  return Routes(FactsOf(observed), observed);
}

constexpr char kWayOfEth1[] =
    "203.0.113.128/25 dev 3 table 60929\n"
    "0.0.0.0/0 via 203.0.113.254 dev 3 table 60929 onlink\n";

TEST_CASE("arrival_ways: a host with one interface needs none",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  std::erase_if(observed.links,
                [](const auto& link) { return link.index > 2; });
  HostFacts facts = SampleFacts();
  FindArrivalWays(SampleState().settings, observed, facts);
  CHECK(facts.arrivals == Arrivals{});
}

TEST_CASE("arrival_ways: the gateway is told by any default route",
          "[arrival_ways]") {
  for (const auto& [table, metric] :
       {std::pair(254u, 4096u), {101u, 0u}, {101u, 5u}}) {
    ObservedRoutes observed = TwoInterfaces();
    observed.routes.push_back(Default(3, "203.0.113.254", table, metric));
    const HostFacts facts = FactsOf(observed);
    REQUIRE(facts.arrivals.ways.size() == 1);
    CHECK(facts.arrivals.ways[0].interface == "eth1");
    CHECK(facts.arrivals.ways[0].number == 1);
    CHECK(facts.arrivals.ways[0].addresses ==
          std::vector<ArrivalAddress>{{Ip("203.0.113.2"), 2}});
    CHECK(facts.arrivals.unnamed.empty());
    CHECK(Routes(facts, observed) == kWayOfEth1);
  }
}

TEST_CASE("arrival_ways: the main table's word comes first, then the metric",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(3, "203.0.113.251", 101));
  observed.routes.push_back(Default(3, "203.0.113.252", 254, 5000));
  observed.routes.push_back(Default(3, "203.0.113.254", 254, 4096));
  CHECK(Routes(observed) == kWayOfEth1);
}

TEST_CASE("arrival_ways: without a default route the only gateway is taken",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  const Route route{.destination = Net("10.0.0.0/8"),
                    .link = 3,
                    .gateway = Ip("203.0.113.254"),
                    .protocol = 4};
  observed.routes.push_back(route);
  CHECK(Routes(observed) ==
        "203.0.113.128/25 dev 3 table 60929\n"
        "10.0.0.0/8 via 203.0.113.254 dev 3 table 60929 onlink\n"
        "0.0.0.0/0 via 203.0.113.254 dev 3 table 60929 onlink\n");
  observed.routes.push_back(route);
  observed.routes.back().destination = Net("172.16.0.0/12");
  observed.routes.back().gateway = Ip("203.0.113.253");
  CHECK(Routes(observed).empty());
}

TEST_CASE("arrival_ways: a public address without a known gateway is told",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  CHECK(WarningsOfArrivals(FactsOf(observed)) ==
        std::vector<std::string>{
            "no route names a gateway of eth1, where 203.0.113.2 is: answers "
            "to clients beyond its network leave by eth0, and providers drop "
            "those; `ip route add default via GATEWAY dev eth1 metric 4096` "
            "names it, and takes nothing else"});
  // Without any default route there is nothing wrong with that one.
  std::erase_if(observed.routes, [](const Route& route) {
    return route.destination.length() == 0;
  });
  CHECK(FactsOf(observed).arrivals == Arrivals{});
}

netlink::Neighbour HeardOf(std::string_view address, const char* mac,
                           bool router = false) {
  return {.link = 3, .address = Ip(address), .mac = mac, .router = router};
}

TEST_CASE("arrival_ways: who is alone there is taken for the gateway",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  // Before anybody is heard connections are marked, for when one is.
  CHECK(FactsOf(observed).arrivals.ways.size() == 1);
  CHECK(Routes(observed).empty());
  observed.neighbours = {HeardOf("203.0.113.254", "r"),
                         HeardOf("203.0.113.253", "r")};  // its other address
  const HostFacts facts = FactsOf(observed);
  CHECK(Routes(facts, observed) ==
        "203.0.113.128/25 dev 3 table 60929\n"
        "0.0.0.0/0 via 203.0.113.253 dev 3 table 60929 onlink\n");
  CHECK(WarningsOfArrivals(facts).empty());
  REQUIRE(facts.arrivals.unnamed.size() == 1);
  CHECK(facts.arrivals.unnamed[0].neighbour == Ip("203.0.113.253"));
  observed.neighbours[1].mac = "another";
  CHECK(Routes(observed).empty());
  CHECK(WarningsOfArrivals(FactsOf(observed)).size() == 1);
}

TEST_CASE("arrival_ways: who was taken stays while nobody else is heard",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.neighbours = {HeardOf("203.0.113.254", "r")};
  const auto made = RoutesOfWays(FactsOf(observed), observed);
  observed.routes.insert(observed.routes.end(), made.begin(), made.end());
  observed.neighbours.clear();
  CHECK(RoutesOfWays(FactsOf(observed), observed) == made);
  CHECK(WarningsOfArrivals(FactsOf(observed)).empty());
  // One of them may be anybody.
  observed.neighbours = {HeardOf("203.0.113.254", "r"),
                         HeardOf("203.0.113.200", "s")};
  CHECK(RoutesOfWays(FactsOf(observed), observed).empty());
  CHECK(WarningsOfArrivals(FactsOf(observed)).size() == 1);
  observed.neighbours = {HeardOf("203.0.113.200", "s")};
  CHECK(Routes(observed) ==
        "203.0.113.128/25 dev 3 table 60929\n"
        "0.0.0.0/0 via 203.0.113.200 dev 3 table 60929 onlink\n");
}

TEST_CASE("arrival_ways: of IPv6 neighbours those that say they are routers",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(2, "fe80::2"));
  HostFacts facts = DualFacts();
  facts.nic_addresses[Ip("2001:db8::1")] = {Ip("2001:db8::1"), "eth1", 3};
  observed.neighbours = {HeardOf("2001:db8::5", "a"), HeardOf("fe80::9", "b"),
                         HeardOf("ff02::1", "c"),
                         HeardOf("203.0.113.200", "d")};
  FindArrivalWays(DualState().settings, observed, facts);
  CHECK(Routes(facts, observed).empty());
  observed.neighbours.push_back(HeardOf("fe80::1", "r", true));
  CHECK(Routes(facts, observed) ==
        "::/0 via fe80::1 dev 3 table 60929 onlink\n");
}

TEST_CASE("arrival_ways: nobody is guessed where no public address is",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.neighbours = {{.link = 4, .address = Ip("10.0.0.1"), .mac = "x"}};
  REQUIRE(FactsOf(observed).arrivals.ways.size() == 1);
  CHECK(FactsOf(observed).arrivals.ways[0].interface == "eth1");
}

TEST_CASE("arrival_ways: what does not count as a gateway", "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  // One that refuses, our own, one into the tunnel.
  observed.routes.push_back({.kind = netlink::RouteKind::kUnreachable,
                             .destination = Net("0.0.0.0/0"),
                             .link = 3,
                             .table = 101,
                             .protocol = 4});
  observed.routes.push_back(Default(3, "203.0.113.254", 0xed01));
  observed.routes.back().protocol = netlink::kRouteProtocol;
  observed.routes.push_back(Default(7, "203.0.113.254", 101));
  CHECK(Routes(observed).empty());
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  CHECK(Routes(observed) == kWayOfEth1);
  observed.links[2].up = false;
  CHECK(FactsOf(observed).arrivals.ways.empty());
}

TEST_CASE("arrival_ways: each family has its own default link",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(3, "203.0.113.254", 254, 4096));
  observed.routes.push_back(Default(3, "fe80::1", 254, 1024));
  // 2001:db8::1 is on eth0, which would need a way for it.
  CHECK(FactsOf(observed).arrivals.ways.size() == 2);
  CHECK(Routes(observed) ==
        "203.0.113.128/25 dev 3 table 60930\n"
        "0.0.0.0/0 via 203.0.113.254 dev 3 table 60930 onlink\n");
  observed.routes.push_back(Default(2, "fe80::2", 254, 2048));
  CHECK(Routes(observed) ==
        "203.0.113.128/25 dev 3 table 60930\n"
        "0.0.0.0/0 via 203.0.113.254 dev 3 table 60930 onlink\n"
        "::/0 via fe80::2 dev 2 table 60929 onlink\n");
  // Two that are as good: nobody knows which one the kernel takes.
  observed.routes.back().priority = 1024;
  CHECK(Routes(observed) ==
        "203.0.113.128/25 dev 3 table 60930\n"
        "0.0.0.0/0 via 203.0.113.254 dev 3 table 60930 onlink\n"
        "::/0 via fe80::2 dev 2 table 60929 onlink\n"
        "::/0 via fe80::1 dev 3 table 60930 onlink\n");
}

TEST_CASE("arrival_ways: of a multipath default route each hop is a way",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  Route& route = observed.routes[0];
  route.link = 0;
  route.gateway = std::nullopt;
  route.hops = {{2, Ip("203.0.113.126")}, {3, Ip("203.0.113.254")}};
  CHECK(Routes(observed) ==
        "203.0.113.0/25 dev 2 table 60929\n"
        "0.0.0.0/0 via 203.0.113.126 dev 2 table 60929 onlink\n"
        "203.0.113.128/25 dev 3 table 60930\n"
        "0.0.0.0/0 via 203.0.113.254 dev 3 table 60930 onlink\n");
  // Two gateways of one interface.
  route.hops[1].link = 2;
  CHECK(Routes(observed).empty());
}

TEST_CASE("arrival_ways: IPv4 may have a gateway of IPv6", "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes[0].gateway = Ip("fe80::1");
  observed.routes.push_back(Default(3, "203.0.113.254", 254, 4096));
  CHECK(Routes(observed) == kWayOfEth1);
  observed.routes.back().gateway = Ip("fe80::2");
  CHECK(Routes(observed) ==
        "203.0.113.128/25 dev 3 table 60929\n"
        "0.0.0.0/0 via fe80::2 dev 3 table 60929 onlink\n");
}

TEST_CASE("arrival_ways: what leads everywhere", "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.links.push_back({.index = 5, .name = "docker0", .up = true});
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  CHECK(FactsOf(observed).arrivals.exits ==
        std::vector<std::string>{"eth0", "eth1"});
}

TEST_CASE("arrival_ways: a table that comes before the main one",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(3, "203.0.113.254", 51820));
  CHECK(FactsOf(observed).arrivals.ways.size() == 1);
  // All packets leave by eth1 then, also answers to what came in by eth0.
  observed.early_tables = {51820};
  const HostFacts facts = FactsOf(observed);
  REQUIRE(facts.arrivals.ways.size() == 2);
  CHECK(facts.arrivals.ways[0].interface == "eth0");
  CHECK(facts.arrivals.unnamed.empty());
  observed.early_tables = {51821};
  CHECK(FactsOf(observed).arrivals.ways.size() == 1);
}

TEST_CASE("arrival_ways: an interface keeps its number", "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  observed.routes.push_back(Default(4, "192.0.2.1", 102));
  const HostFacts both = FactsOf(observed);
  REQUIRE(both.arrivals.ways.size() == 2);
  const auto made = RoutesOfWays(both, observed);
  observed.routes.insert(observed.routes.end(), made.begin(), made.end());
  // eth1 goes down, and with it the kernel's routes.
  std::erase_if(observed.routes,
                [](const Route& route) { return route.link == 3; });
  observed.links[2].up = false;
  REQUIRE(FactsOf(observed).arrivals.ways.size() == 1);
  CHECK(FactsOf(observed).arrivals.ways[0].number == 2);
  observed.links[2].up = true;
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  CHECK(FactsOf(observed).arrivals.ways == both.arrivals.ways);
}

TEST_CASE("arrival_ways: a number waits for an interface that went",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  HostFacts facts = DualFacts();
  const auto numbers = [&] {
    FindArrivalWays(DualState().settings, observed, facts);
    std::string text;
    for (const ArrivalWay& way : facts.arrivals.ways) {
      text += fmt::format("{} {}; ", way.interface, way.number);
    }
    return text;
  };
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  observed.routes.push_back(Default(4, "192.0.2.1", 102));
  CHECK(numbers() == "eth1 1; eth2 2; ");
  // Both go, and the second comes back first, as another device.
  observed.links[2].up = observed.links[3].up = false;
  CHECK(numbers().empty());
  observed.links[3] = {.index = 9, .name = "eth2", .up = true};
  observed.routes.back().link = 9;
  CHECK(numbers() == "eth2 2; ");
  observed.links[2].up = true;
  CHECK(numbers() == "eth1 1; eth2 2; ");
}

TEST_CASE("arrival_ways: a rule for each family of a way", "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  observed.routes.push_back(Default(3, "fe80::1", 101));
  const auto rules = RulesOfWays(RoutesOfWays(FactsOf(observed), observed));
  const netlink::Rule rule{.family = Family::kIpv4,
                           .priority = 90,
                           .mark = 0xed000001,
                           .mask = 0xff0000ff,
                           .table = kWayTableBase + 1};
  netlink::Rule rule6 = rule;
  rule6.family = Family::kIpv6;
  CHECK(rules == std::vector{rule, rule6});
  CHECK(IsRuleOfWay(rule));
  netlink::Rule other = rule;
  other.table = 0xed01;
  CHECK_FALSE(IsRuleOfWay(other));
  other = rule;
  other.protocol = 4;
  CHECK_FALSE(IsRuleOfWay(other));
}

TEST_CASE("arrival_ways: of a router's many routes only neighbours are copied",
          "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  observed.routes.push_back(Default(3, "203.0.113.254", 101));
  for (uint32_t i = 0; i < 300; ++i) {
    observed.routes.push_back(
        {.destination = IpPrefix(Ip("10.0.0.0").Plus(i, 8), 24),
         .link = 3,
         .gateway = Ip("203.0.113.253"),
         .protocol = 186});
  }
  CHECK(Routes(observed) == kWayOfEth1);
}

TEST_CASE("arrival_ways: ways are numbered up to 255", "[arrival_ways]") {
  ObservedRoutes observed = TwoInterfaces();
  for (int i = 10; i < 310; ++i) {
    observed.links.push_back({.index = i, .name = fmt::format("v{}", i)});
    observed.links.back().up = true;
    observed.routes.push_back(Default(i, "192.0.2.1", 102));
  }
  const auto ways = FactsOf(observed).arrivals.ways;
  REQUIRE(ways.size() == 255);
  CHECK(ways.back().number == 255);
  // Those that went make room for others.
  HostFacts facts = DualFacts();
  FindArrivalWays(DualState().settings, observed, facts);
  for (auto& link : observed.links) {
    if (link.index >= 10) link.name = "w" + link.name;
  }
  FindArrivalWays(DualState().settings, observed, facts);
  CHECK(facts.arrivals.ways.size() == 255);
}

}  // namespace
}  // namespace edged::edge
