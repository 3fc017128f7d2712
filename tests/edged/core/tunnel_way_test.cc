#include "edged/core/tunnel_way.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_host.h"

namespace edged::edge {
namespace {

using netlink::PolicyRule;
using netlink::Route;
using netlink::RouteKind;

constexpr int kEth = 2, kTunnel = 3;

PolicyRule Standard(uint32_t priority, uint32_t table) {
  return {.priority = priority,
          .table = table,
          .protocol = 2,
          .text = fmt::format("from all lookup {}", table),
          .plain = netlink::Rule{.priority = priority, .table = table}};
}

HostRouting Host(std::vector<PolicyRule> foreign = {},
                 std::vector<Route> routes = {}) {
  HostRouting host{.links = *HealthyHost().links,
                   .routes = std::move(routes),
                   .rules = {Standard(0, RT_TABLE_LOCAL)}};
  host.rules.insert(host.rules.end(), foreign.begin(), foreign.end());
  host.rules.push_back(Standard(32'766, RT_TABLE_MAIN));
  host.routes.push_back(
      {.destination = *IpPrefix::Parse("10.200.0.16/28"), .link = kTunnel});
  return host;
}

AskedWay From(const char* source, std::optional<Route> route) {
  return {.destination = AddressOf("10.200.0.17"),
          .in = "eth0",
          .source = AddressOf(source),
          .route = route,
          .refused = !route};
}

// "what | mend; mend"
std::string Found(const AskedWay& way, const HostRouting& host) {
  const auto other =
      FindOtherWay(way, host, "edged0", *IpPrefix::Parse("10.200.0.0/22"));
  if (!other) return "into the tunnel";
  return fmt::format("{} | {}", other->what, fmt::join(other->mend, "; "));
}

Route RouteOf(const char* destination, int link, uint32_t table) {
  return {.destination = *IpPrefix::Parse(destination),
          .link = link,
          .table = table,
          .protocol = 4};
}

}  // namespace

TEST_CASE("tunnel_way: into the tunnel", "[tunnel_way]") {
  CHECK(Found(From("8.8.8.8", RouteOf("10.200.0.16/28", kTunnel, 254)),
              Host()) == "into the tunnel");
}

TEST_CASE("tunnel_way: a longer route of the main table", "[tunnel_way]") {
  CHECK(Found(From("8.8.8.8", RouteOf("10.200.0.17/32", kEth, 254)), Host()) ==
        "route 10.200.0.17/32 dev eth0 of table main | ip route del "
        "10.200.0.17/32 dev eth0 table main");
  Route blackhole = RouteOf("10.200.0.17/32", 0, RT_TABLE_MAIN);
  blackhole.kind = RouteKind::kBlackhole;
  CHECK(Found(From("8.8.8.8", {}), Host({}, {blackhole})) ==
        "route blackhole 10.200.0.17/32 of table main | ip route del blackhole "
        "10.200.0.17/32 table main");
}

TEST_CASE("tunnel_way: rules, and the tables that they lead to",
          "[tunnel_way]") {
  PolicyRule rule{.priority = 50, .table = 100, .text = "from all lookup 100"};
  CHECK(Found(From("8.8.8.8", RouteOf("0.0.0.0/0", kEth, 100)), Host({rule})) ==
        "route 0.0.0.0/0 dev eth0 of table 100, by rule 50: from all lookup "
        "100 | ip rule add to 10.200.0.0/22 lookup main priority 49");
  rule = {.priority = 50,
          .refuses = true,
          .source = *IpPrefix::Parse("198.51.100.0/24"),
          .text = "from 198.51.100.0/24 prohibit"};
  AskedWay way = From("198.51.100.1", {});
  CHECK(Found(way, Host({rule})) ==
        "rule 50: from 198.51.100.0/24 prohibit | ip rule del priority 50");
  // The kernel did not say why, and what this host sends goes right.
  way.route = RouteOf("10.200.0.16/28", kTunnel, 254);
  CHECK(Found(way, Host({rule})).starts_with("rule 50"));
  way.source = AddressOf("8.8.8.8");  // rp_filter
  CHECK(Found(way, Host({rule})) == "into the tunnel");
}

TEST_CASE("tunnel_way: no route at all", "[tunnel_way]") {
  HostRouting host = Host();
  host.routes.clear();
  CHECK(Found(From("8.8.8.8", {}), host) ==
        "no route leads to 10.200.0.17 | ip route get 10.200.0.17");
}

}  // namespace edged::edge
