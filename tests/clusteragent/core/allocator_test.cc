#include "clusteragent/core/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

std::string PoolText(const IndexPool& pool) {
  std::string text;
  for (const auto& [name, number] : pool.taken) {
    text += fmt::format(" {}={}", name, number);
  }
  for (const uint32_t number : pool.resting) {
    text += fmt::format(" resting={}", number);
  }
  return text;
}

std::string Text(const Allocation& allocation) {
  std::string text;
  for (const auto& [name, record] : allocation.records.edges) {
    text +=
        fmt::format("{} #{} {} port {};{};{}\n", name,
                    allocation.records.numbers.Find(name).value_or(0),
                    record.network.ToString(), record.listen_port,
                    PoolText(record.public_indexes), PoolText(record.blocks));
  }
  for (const auto& [name, problems] : allocation.problems) {
    for (const Refusal& problem : problems) {
      text += fmt::format("{}: {}\n", problem.reason, problem.message);
    }
  }
  return text;
}

EdgeNode WithNetwork(EdgeNode node, std::string_view network) {
  node.tunnel.network = Prefix(network);
  return node;
}

TEST_CASE("allocator: two edges without anything named do not collide",
          "[allocator]") {
  const World world{{Edge("b", {"203.0.113.2"}), Edge("a", {"203.0.113.1"})}};
  CHECK(Text(Allocate({}, world, FactsFor({}))) ==
        "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1; home=1\n"
        "b #2 10.200.4.0/22 port 51820; 203.0.113.2=1; home=1\n");
}

TEST_CASE("allocator: the older edge is served first", "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"}), Edge("b", {"203.0.113.2"})}};
  world.edge_nodes[0].meta.created = At(200);
  world.edge_nodes[1].meta.created = At(100);
  CHECK(Text(Allocate({}, world, FactsFor({}))) ==
        "a #2 10.200.4.0/22 port 51820; 203.0.113.1=1; home=1\n"
        "b #1 10.200.0.0/22 port 51820; 203.0.113.2=1; home=1\n");
}

TEST_CASE("allocator: what is recorded stays, whatever comes", "[allocator]") {
  World world{{Edge("m", {"203.0.113.1"})}};
  const Facts facts = FactsFor({});
  Records records = Allocate({}, world, facts).records;
  world.edge_nodes.push_back(Edge("a", {"203.0.113.9"}));
  world.edge_nodes[0].public_ips.insert(world.edge_nodes[0].public_ips.begin(),
                                        {.address = Ip("203.0.113.3")});
  records = Allocate(records, world, facts).records;
  CHECK(Text({records, {}}) ==
        "a #2 10.200.4.0/22 port 51820; 203.0.113.9=1; home=1\n"
        "m #1 10.200.0.0/22 port 51820; 203.0.113.1=1 203.0.113.3=2; home=1\n");
  CHECK(Allocate(records, world, facts).records == records);
  std::ranges::reverse(world.edge_nodes);
  CHECK(Allocate(records, world, facts).records == records);
}

TEST_CASE("allocator: networks keep clear of routes and of named networks",
          "[allocator]") {
  const World world{
      {WithNetwork(Edge("named", {"203.0.113.1"}), "10.200.4.0/24"),
       Edge("free", {"203.0.113.2"})}};
  Facts facts = FactsFor({});
  facts.host_routes = {Prefix("0.0.0.0/0"), Prefix("10.200.0.0/23")};
  CHECK(Text(Allocate({}, world, facts)) ==
        "free #1 10.200.8.0/22 port 51820; 203.0.113.2=1; home=1\n"
        "named #2 10.200.4.0/24 port 51820; 203.0.113.1=1; home=1\n");
}

TEST_CASE("allocator: a named network that overlaps is refused with both names",
          "[allocator]") {
  World world{{WithNetwork(Edge("a", {"203.0.113.1"}), "10.9.0.0/22"),
               WithNetwork(Edge("b", {"203.0.113.2"}), "10.9.2.0/24")}};
  CHECK(Text(Allocate({}, world, FactsFor({}))) ==
        "a #1 10.9.0.0/22 port 51820; 203.0.113.1=1; home=1\n"
        "NetworkOverlap: EdgeNode b: spec.tunnel.network: 10.9.2.0/24 overlaps "
        "the network 10.9.0.0/22 of EdgeNode a\n");
  Facts facts = FactsFor({});
  facts.host_routes = {Prefix("10.9.0.0/16")};
  world.edge_nodes.pop_back();
  CHECK(Text(Allocate({}, world, facts)) ==
        "NetworkOverlap: EdgeNode a: spec.tunnel.network: 10.9.0.0/22 overlaps "
        "10.9.0.0/16, which this host routes\n");
}

TEST_CASE("allocator: a recorded network that a route covers is kept and said",
          "[allocator]") {
  const World world{{Edge("a", {"203.0.113.1"})}};
  Facts facts = FactsFor({});
  const Records records = Allocate({}, world, facts).records;
  facts.host_routes = {Prefix("10.200.1.0/24")};
  CHECK(Text(Allocate(records, world, facts)) ==
        "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1; home=1\n"
        "NetworkOverlap: EdgeNode a: its network 10.200.0.0/22 overlaps "
        "10.200.1.0/24, which this host routes\n");
}

TEST_CASE("allocator: network and port move until the edge is enrolled",
          "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"})}};
  Facts facts = FactsFor({});
  const Records records = Allocate({}, world, facts).records;
  world.edge_nodes[0].tunnel.listen_port = 51999;
  world.edge_nodes[0].tunnel.network = Prefix("10.9.0.0/22");
  CHECK(Text(Allocate(records, world, facts)) ==
        "a #1 10.9.0.0/22 port 51999; 203.0.113.1=1; home=1\n");
  facts.edges["a"].enrolled = true;
  CHECK(
      Text(Allocate(records, world, facts)) ==
      "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1; home=1\n"
      "TunnelImmutable: EdgeNode a: spec.tunnel.listenPort: 51999 is refused, "
      "the edge is enrolled with 51820\n"
      "TunnelImmutable: EdgeNode a: spec.tunnel.network: 10.9.0.0/22 is "
      "refused, the edge is enrolled with 10.200.0.0/22\n");
}

TEST_CASE("allocator: an edge stays enrolled when nobody says so any more",
          "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"})}};
  Facts facts = FactsFor({});
  Records records = Allocate({}, world, facts).records;
  CHECK_FALSE(records.edges.at("a").enrolled);
  facts.edges["a"].enrolled = true;
  records = Allocate(records, world, facts).records;
  facts.edges.clear();
  world.edge_nodes[0].tunnel.listen_port = 51999;
  world.edge_nodes[0].tunnel.network = Prefix("10.9.0.0/22");
  CHECK(
      Text(Allocate(records, world, facts)) ==
      "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1; home=1\n"
      "TunnelImmutable: EdgeNode a: spec.tunnel.listenPort: 51999 is refused, "
      "the edge is enrolled with 51820\n"
      "TunnelImmutable: EdgeNode a: spec.tunnel.network: 10.9.0.0/22 is "
      "refused, the edge is enrolled with 10.200.0.0/22\n");
}

TEST_CASE("allocator: a gone edge frees its network, its number rests",
          "[allocator]") {
  const Facts facts = FactsFor({});
  const Records records =
      Allocate({}, {{Edge("a", {"203.0.113.1"})}}, facts).records;
  const World next{{Edge("b", {"203.0.113.2"})}};
  CHECK(Text(Allocate(records, next, facts)) ==
        "b #2 10.200.0.0/22 port 51820; 203.0.113.2=1; home=1\n");
}

TEST_CASE("allocator: an edge with another uid is another edge",
          "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"})}};
  world.edge_nodes[0].meta.uid = "u1";
  const Facts facts = FactsFor({});
  const Records records = Allocate({}, world, facts).records;
  world.edge_nodes[0].meta.uid = "u2";
  const Allocation second = Allocate(records, world, facts);
  CHECK(second.records.edges.at("a").uid == "u2");
  CHECK(second.records.numbers.Find("a") == 2);
}

TEST_CASE("allocator: an index is used again only after the fresh ones",
          "[allocator]") {
  World world{{WithNetwork(Edge("a", {"203.0.113.1"}), "10.9.0.0/24")}};
  const Facts facts = FactsFor({});  // a /24 has indexes 1 to 3
  Records records;
  std::string seen;
  for (const char* ip : {"203.0.113.1", "203.0.113.2", "203.0.113.3",
                         "203.0.113.4", "203.0.113.5"}) {
    world.edge_nodes[0].public_ips = {{.address = Ip(ip)}};
    records = Allocate(records, world, facts).records;
    seen += PoolText(records.edges.at("a").public_indexes) + "\n";
  }
  CHECK(seen ==
        " 203.0.113.1=1\n"
        " 203.0.113.2=2 resting=1\n"
        " 203.0.113.3=3 resting=1 resting=2\n"
        " 203.0.113.4=1 resting=2 resting=3\n"
        " 203.0.113.5=2 resting=3 resting=1\n");
}

TEST_CASE("allocator: more public addresses than fit are named",
          "[allocator]") {
  const World world{{WithNetwork(Edge("a", {"203.0.113.1", "203.0.113.2"}),
                                 "10.9.0.128/25")}};
  CHECK(Text(Allocate({}, world, FactsFor({}))) ==
        "a #1 10.9.0.128/25 port 51820; 203.0.113.1=1; home=1\n"
        "TooManyPublicIPs: EdgeNode a: spec.publicIPs: 203.0.113.2 has no "
        "place, network 10.9.0.128/25 has room for 1\n");
}

TEST_CASE("allocator: 255 edges have a mark, and a small mask has room for few",
          "[allocator]") {
  World world;
  for (int i = 1; i <= 256; ++i) {
    world.edge_nodes.push_back(Edge(fmt::format("e{:03}", i), {"203.0.113.1"}));
  }
  Allocation allocation = Allocate({}, world, FactsFor({}));
  CHECK(allocation.records.edges.size() == 255);
  CHECK(Text({{}, allocation.problems}) ==
        "TooManyEdgeNodes: EdgeNode e256: 255 EdgeNodes have a mark already, "
        "and --mark-mask 0xff has room for no more\n");
  world.edge_nodes.resize(4);
  Facts facts = FactsFor({});
  facts.mark_mask = 0x300;
  allocation = Allocate({}, world, facts);
  CHECK(allocation.records.edges.size() == 3);
  CHECK(Text({{}, allocation.problems}) ==
        "TooManyEdgeNodes: EdgeNode e004: 3 EdgeNodes have a mark already, and "
        "--mark-mask 0x300 has room for no more\n");
}

TEST_CASE("allocator: a full supernet is said", "[allocator]") {
  const World world{{Edge("a", {"203.0.113.1"}), Edge("b", {"203.0.113.2"})}};
  Facts facts = FactsFor({});
  facts.supernet = Prefix("10.7.4.0/22");
  CHECK(Text(Allocate({}, world, facts)) ==
        "a #1 10.7.4.0/22 port 51820; 203.0.113.1=1; home=1\n"
        "NoFreeNetwork: EdgeNode b: no /22 of 10.7.4.0/22 is free; name one in "
        "spec.tunnel.network\n");
}

TEST_CASE("allocator: uplinks get blocks, those that the edge selects",
          "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"})}};
  world.edge_nodes[0].uplink_selector.match_labels = {{"zone", "x"}};
  Facts facts = FactsFor({});
  facts.uplinks = {{.name = "u1", .labels = {{"zone", "x"}}},
                   {.name = "u2", .labels = {{"zone", "y"}}}};
  CHECK(Text(Allocate({}, world, facts)) ==
        "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1; u1=1\n");
  facts.uplinks.erase(facts.uplinks.begin());
  CHECK(Text(Allocate({}, world, facts)) ==
        "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1;\n"
        "NoUplink: EdgeNode a: spec.uplinkSelector: no uplink matches "
        "\"zone=x\"\n");
  facts.uplinks.clear();
  for (int i = 0; i < 64; ++i) {
    facts.uplinks.push_back(
        {.name = fmt::format("u{:02}", i), .labels = {{"zone", "x"}}});
  }
  const Allocation full = Allocate({}, world, facts);
  CHECK(full.records.edges.at("a").blocks.taken.at("u62") == 63);
  CHECK(Text({{}, full.problems}) ==
        "TooManyUplinks: EdgeNode a: uplink u63 has no place, an edge has room "
        "for 63\n");
}

TEST_CASE("allocator: a host name alone is no public address", "[allocator]") {
  World world{{EdgeNode{.meta = {.name = "a"}, .address = "203.0.113.1"}}};
  CHECK(Text(Allocate({}, world, FactsFor({}))) ==
        "a #1 10.200.0.0/22 port 51820; 203.0.113.1=1; home=1\n");
  world.edge_nodes[0].address = "vps.example.com";
  CHECK(Text(Allocate({}, world, FactsFor({}))) ==
        "a #1 10.200.0.0/22 port 51820;; home=1\n"
        "NoPublicIP: EdgeNode a: spec.publicIPs: is empty, and the address "
        "vps.example.com is a host name\n");
}

std::string Ipv6Text(const Allocation& allocation) {
  std::string text;
  for (const auto& [name, record] : allocation.records.edges) {
    text += fmt::format("{} {};{}\n", name,
                        record.network6 ? record.network6->ToString() : "none",
                        PoolText(record.public_indexes6));
  }
  for (const auto& [name, problems] : allocation.problems) {
    for (const Refusal& problem : problems) {
      text += fmt::format("{}: {}\n", problem.reason, problem.message);
    }
  }
  return text;
}

TEST_CASE("allocator: each edge has a /64 of the cluster's own IPv6 prefix",
          "[allocator]") {
  World world{{Edge("b", {"203.0.113.2", "2001:db8::2"}),
               Edge("a", {"203.0.113.1", "2001:db8::1", "2001:db8::9"})}};
  Facts facts = FactsFor({});
  const Allocation first = Allocate({}, world, facts);
  CHECK(Ipv6Text(first) ==
        "a fd6a:3863:fc1a:1::/64; 2001:db8::1=1 2001:db8::9=2\n"
        "b fd6a:3863:fc1a:2::/64; 2001:db8::2=1\n");
  // Beside them the IPv4 addresses count for themselves.
  CHECK(first.records.edges.at("a").IndexOf(Ip("203.0.113.1")) == 1);
  world.edge_nodes.erase(world.edge_nodes.begin() + 1);
  CHECK(Ipv6Text(Allocate(first.records, world, facts)) ==
        "b fd6a:3863:fc1a:2::/64; 2001:db8::2=1\n");
  facts.cluster_uid = "another";
  CHECK(Ipv6Text(Allocate({}, world, facts)).substr(0, 16) !=
        "b fd6a:3863:fc1a");
}

TEST_CASE("allocator: IPv6 networks that are named, and that overlap",
          "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"}), Edge("b", {"2001:db8::2"})}};
  world.edge_nodes[0].tunnel.network6 = Prefix("fd6a:3863:fc1a:1::/64");
  world.edge_nodes[1].tunnel.network6 = Prefix("fd6a:3863:fc1a::/48");
  Facts facts = FactsFor({});
  CHECK(Ipv6Text(Allocate({}, world, facts)) ==
        "a fd6a:3863:fc1a:1::/64;\n"
        "b none;\n"
        "NetworkOverlap: EdgeNode b: spec.tunnel.network6: "
        "fd6a:3863:fc1a::/48 overlaps the network fd6a:3863:fc1a:1::/64 of "
        "EdgeNode a\n");
  world.edge_nodes.pop_back();
  facts.host_routes = {Prefix("fd6a:3863::/32")};
  CHECK(Ipv6Text(Allocate({}, world, facts)) ==
        "a none;\n"
        "NetworkOverlap: EdgeNode a: spec.tunnel.network6: "
        "fd6a:3863:fc1a:1::/64 overlaps fd6a:3863::/32, which this host "
        "routes\n");
}

TEST_CASE("allocator: the IPv6 network of an enrolled edge stays",
          "[allocator]") {
  World world{{Edge("a", {"203.0.113.1"})}};
  Facts facts = FactsFor({});
  facts.edges["a"].enrolled = true;
  Records records = Allocate({}, world, facts).records;
  world.edge_nodes[0].tunnel.network6 = Prefix("fd00:9::/64");
  CHECK(Ipv6Text(Allocate(records, world, facts)) ==
        "a fd6a:3863:fc1a:1::/64;\n"
        "TunnelImmutable: EdgeNode a: spec.tunnel.network6: fd00:9::/64 is "
        "refused, the edge is enrolled with fd6a:3863:fc1a:1::/64\n");
  // One from before there was IPv6 gets a network.
  records.edges.at("a").network6.reset();
  CHECK(Ipv6Text(Allocate(records, world, facts)) == "a fd00:9::/64;\n");
}

}  // namespace
}  // namespace edged::agent
