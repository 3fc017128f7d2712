#include "clusteragent/core/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "clusteragent/core/plan_text.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

// The mappings of every edge and all refusals, without the settings.
std::string Text(const Plan& plan) {
  std::string text;
  for (const EdgePlan& edge : plan.edges) {
    for (const PlannedMapping& planned : edge.mappings) {
      text += fmt::format("{}: {} -> {} for {}\n", edge.edge,
                          planned.mapping.listener.ToString(),
                          planned.backend.endpoints.at(0).ToString(),
                          planned.binding.ToString());
    }
  }
  const std::string all = PlanText(plan);
  const size_t refused = all.find("Refused\n");
  return refused == std::string::npos ? text : text + all.substr(refused);
}

World TwoEdges(std::vector<PortBinding> objects) {
  return {
      {Edge("a", {"203.0.113.1", "203.0.113.2"}), Edge("b", {"203.0.113.129"})},
      std::move(objects)};
}

std::string Text(const World& world) {
  return Text(PlanOf(world, FactsFor({"a", "b"})));
}

TEST_CASE("planner: a binding becomes a mapping of its edge", "[planner]") {
  const Plan plan =
      PlanOf(TwoEdges({Object("web", "a", {Bind("http", "TCP", 80)})}),
             FactsFor({"a", "b"}));
  const EdgePlan& edge = *plan.Edge("a");
  CHECK(Text(plan) ==
        "a: 203.0.113.1 tcp/80 -> 10.0.0.5:80 for default/web/http\n");
  CHECK(edge.address == "203.0.113.1");
  CHECK(edge.listen_port == 51820);
  CHECK(edge.network.ToString() == "10.200.0.0/22");
  CHECK(edge.keepalive_seconds == 25);
  CHECK(edge.number == 1);
  CHECK(edge.own_block == 1);
  REQUIRE(edge.wanted.groups.size() == 1);
  CHECK(edge.wanted.groups[0].name == edge.wanted.mappings[0].group);
  CHECK(edge.wanted.groups[0].public_address == Ip("203.0.113.1"));
  CHECK(edge.wanted.groups[0].uplinks == std::vector<std::string>{"home"});
  CHECK(edge.wanted.uplinks ==
        std::vector<protocol::Uplink>{{"home", KeyNumber(1), 1}});
  REQUIRE(edge.wanted.settings.public_addresses.size() == 2);
  CHECK(edge.wanted.settings.public_addresses[1].index == 2);
  CHECK(plan.Edge("b")->wanted.mappings.empty());
  CHECK(plan.Edge("c") == nullptr);
}

TEST_CASE("planner: the name of a group is made of its definition",
          "[planner]") {
  World world = TwoEdges({Object("web", "a", {Bind("http", "TCP", 80)})});
  Facts facts = FactsFor({"a", "b"});
  const auto name = [&] {
    return PlanOf(world, facts).Edge("a")->wanted.groups.at(0).name;
  };
  const std::string before = name();
  CHECK(before == "g-9d011ef49515");
  facts.uplinks.push_back({.name = "second", .keys = {{"a", KeyNumber(2)}}});
  CHECK(name() == before);
  world.port_bindings[0].bindings[0].public_ip = "203.0.113.2";
  CHECK(name() != before);
}

TEST_CASE("planner: no publicIP is the first of each edge, * is all",
          "[planner]") {
  PortBinding object = Object("web", "a",
                              {Bind("first", "TCP", 80), Bind("all", "TCP", 81),
                               Bind("named", "TCP", 82)});
  object.edge_node.reset();
  object.edge_node_selector = Selector();
  object.bindings[1].public_ip = "*";
  object.bindings[2].public_ip = "203.0.113.2";
  CHECK(Text(TwoEdges({object})) ==
        "a: 203.0.113.1 tcp/80 -> 10.0.0.5:80 for default/web/first\n"
        "a: 203.0.113.1 tcp/81 -> 10.0.0.5:81 for default/web/all\n"
        "a: 203.0.113.2 tcp/81 -> 10.0.0.5:81 for default/web/all\n"
        "a: 203.0.113.2 tcp/82 -> 10.0.0.5:82 for default/web/named\n"
        "b: 203.0.113.129 tcp/80 -> 10.0.0.5:80 for default/web/first\n"
        "b: 203.0.113.129 tcp/81 -> 10.0.0.5:81 for default/web/all\n");
}

TEST_CASE("planner: another edge's address is refused", "[planner]") {
  PortBinding object = Object("web", "a", {Bind("http", "TCP", 80)});
  object.bindings[0].public_ip = "203.0.113.129";
  CHECK(Text(TwoEdges({object})) ==
        "Refused\n"
        "  PublicIPNotOnEdge: PortBinding default/web: spec.bindings[0] "
        "\"http\": publicIP: 203.0.113.129 is not an address of EdgeNode a\n");
}

TEST_CASE("planner: an edge that is not there is named", "[planner]") {
  PortBinding object = Object("web", "c", {Bind("http", "TCP", 80)});
  CHECK(Text(TwoEdges({object})) ==
        "Refused\n"
        "  EdgeNodeNotFound: PortBinding default/web: spec.edgeNodeRef.name: "
        "there is no EdgeNode \"c\"\n");
  object.edge_node.reset();
  object.edge_node_selector = Selector{{{"zone", "x"}}};
  CHECK(
      Text(TwoEdges({object})) ==
      "Refused\n"
      "  EdgeNodeNotFound: PortBinding default/web: spec.edgeNodeSelector: no "
      "EdgeNode matches \"zone=x\"\n");
}

TEST_CASE("planner: an edge serves the namespaces it allows", "[planner]") {
  World world = TwoEdges({Object("web", "a", {Bind("http", "TCP", 80)})});
  world.edge_nodes[0].allowed_namespaces = {"other"};
  CHECK(Text(world) ==
        "Refused\n"
        "  NamespaceNotAllowed: PortBinding default/web: EdgeNode a does not "
        "list namespace \"default\" in spec.allowedNamespaces\n");
  world.edge_nodes[0].allowed_namespaces = {"other", "default"};
  CHECK(Text(world) ==
        "a: 203.0.113.1 tcp/80 -> 10.0.0.5:80 for default/web/http\n");
}

TEST_CASE("planner: of two objects on one listener the older serves",
          "[planner]") {
  PortBinding young =
      Object("aaa", "a", {Bind("x", "TCP", 443), Bind("y", "TCP", 8443)});
  PortBinding old = Object("zzz", "a", {Bind("x", "TCP", 443)});
  young.meta.created = At(200);
  old.meta.created = At(100);
  CHECK(Text(TwoEdges({young, old})) ==
        "a: 203.0.113.1 tcp/443 -> 10.0.0.5:443 for default/zzz/x\n"
        "a: 203.0.113.1 tcp/8443 -> 10.0.0.5:8443 for default/aaa/y\n"
        "Refused\n"
        "  ListenerConflict: PortBinding default/aaa: spec.bindings[0] \"x\": "
        "tcp/443 on 203.0.113.1 of EdgeNode a is held by PortBinding "
        "default/zzz \"x\", which is older\n");
}

TEST_CASE("planner: without a time the name decides", "[planner]") {
  const PortBinding first = Object("aaa", "a", {Bind("x", "TCP", 443)});
  PortBinding second = Object("zzz", "a", {Bind("x", "TCP", 443)});
  CHECK(Text(TwoEdges({second, first}))
            .starts_with("a: 203.0.113.1 tcp/443 -> 10.0.0.5:443 for "
                         "default/aaa/x\n"));
  second.meta.created = At(100);
  CHECK(Text(TwoEdges({second, first}))
            .starts_with("a: 203.0.113.1 tcp/443 -> 10.0.0.5:443 for "
                         "default/zzz/x\n"));
}

TEST_CASE("planner: overlapping ranges are a conflict", "[planner]") {
  CHECK(
      Text(TwoEdges({Object("m", "a", {BindRange("r", "UDP", 100, 200)}),
                     Object("n", "a",
                            {Bind("low", "UDP", 100), Bind("below", "UDP", 99),
                             BindRange("s", "UDP", 150, 300)})})) ==
      "a: 203.0.113.1 udp/99 -> 10.0.0.5:99 for default/n/below\n"
      "a: 203.0.113.1 udp/100-200 -> 10.0.0.5:100 for default/m/r\n"
      "Refused\n"
      "  ListenerConflict: PortBinding default/n: spec.bindings[0] \"low\": "
      "udp/100-200 on 203.0.113.1 of EdgeNode a is held by PortBinding "
      "default/m \"r\", which is older\n"
      "  ListenerConflict: PortBinding default/n: spec.bindings[2] \"s\": "
      "udp/100-200 on 203.0.113.1 of EdgeNode a is held by PortBinding "
      "default/m \"r\", which is older\n");
}

TEST_CASE("planner: one port over TCP and UDP, and on two addresses",
          "[planner]") {
  PortBinding second = Object("n", "a", {Bind("dns", "TCP", 53)});
  second.bindings[0].public_ip = "203.0.113.2";
  CHECK(Text(TwoEdges({Object("m", "a", {Bind("tcp", "TCP", 53)}),
                       Object("o", "a", {Bind("udp", "UDP", 53)}), second})) ==
        "a: 203.0.113.1 tcp/53 -> 10.0.0.5:53 for default/m/tcp\n"
        "a: 203.0.113.1 udp/53 -> 10.0.0.5:53 for default/o/udp\n"
        "a: 203.0.113.2 tcp/53 -> 10.0.0.5:53 for default/n/dns\n");
}

TEST_CASE("planner: * and the first address meet within one object",
          "[planner]") {
  PortBinding object =
      Object("web", "a", {Bind("first", "TCP", 80), Bind("all", "TCP", 80)});
  object.bindings[1].public_ip = "*";
  CHECK(
      Text(TwoEdges({object})) ==
      "a: 203.0.113.1 tcp/80 -> 10.0.0.5:80 for default/web/first\n"
      "a: 203.0.113.2 tcp/80 -> 10.0.0.5:80 for default/web/all\n"
      "Refused\n"
      "  ListenerConflict: PortBinding default/web: spec.bindings[1] \"all\": "
      "tcp/80 on 203.0.113.1 of EdgeNode a is held by PortBinding "
      "default/web \"first\", which is first in the list\n");
}

TEST_CASE("planner: the WireGuard port is not for mappings", "[planner]") {
  World world =
      TwoEdges({Object("m", "a",
                       {Bind("x", "UDP", 51820), Bind("y", "TCP", 51820),
                        BindRange("z", "UDP", 50000, 52000)})});
  CHECK(
      Text(world) ==
      "a: 203.0.113.1 tcp/51820 -> 10.0.0.5:51820 for default/m/y\n"
      "Refused\n"
      "  PortReserved: PortBinding default/m: spec.bindings[0] \"x\": "
      "udp/51820 touches udp/51820, the WireGuard port of EdgeNode a\n"
      "  ListenerConflict: PortBinding default/m: spec.bindings[2]: \"z\" "
      "listens on udp/50000-52000, which \"x\" (spec.bindings[0]) of the same "
      "object has\n");
  world.port_bindings[0].bindings.erase(
      world.port_bindings[0].bindings.begin());
  CHECK(Text(world) ==
        "a: 203.0.113.1 tcp/51820 -> 10.0.0.5:51820 for default/m/y\n"
        "Refused\n"
        "  PortReserved: PortBinding default/m: spec.bindings[1] \"z\": "
        "udp/50000-52000 touches udp/51820, the WireGuard port of EdgeNode "
        "a\n");
  world.edge_nodes[0].tunnel.listen_port = 51821;
  world.port_bindings[0].bindings = {Bind("x", "UDP", 51820)};
  CHECK(Text(world) ==
        "a: 203.0.113.1 udp/51820 -> 10.0.0.5:51820 for default/m/x\n");
}

TEST_CASE("planner: reserved ports are as the edge said, or ssh", "[planner]") {
  const World world =
      TwoEdges({Object("m", "a", {BindRange("all", "TCP", 1, 65535)})});
  Facts facts = FactsFor({"a", "b"});
  CHECK(Text(PlanOf(world, facts)) ==
        "Refused\n"
        "  PortReserved: PortBinding default/m: spec.bindings[0] \"all\": "
        "tcp/1-65535 touches tcp/22, a reserved port of EdgeNode a\n");
  facts.edges["a"].reserved_ports = {{Protocol::kUdp, 22},
                                     {Protocol::kTcp, 9000}};
  CHECK(Text(PlanOf(world, facts)) ==
        "Refused\n"
        "  PortReserved: PortBinding default/m: spec.bindings[0] \"all\": "
        "tcp/1-65535 touches tcp/9000, a reserved port of EdgeNode a\n");
  facts.edges["a"].reserved_ports.clear();
  CHECK(Text(PlanOf(world, facts)) ==
        "a: 203.0.113.1 tcp/1-65535 -> 10.0.0.5:1 for default/m/all\n");
}

TEST_CASE("planner: Preserve needs a target on the uplink's host",
          "[planner]") {
  PortBinding object =
      Object("m", "a", {Bind("here", "TCP", 80), Bind("there", "TCP", 81)});
  object.bindings[0].target.address = "192.168.1.10";
  object.bindings[0].client_ip = "Preserve";
  object.bindings[1].client_ip = "Preserve";
  CHECK(Text(TwoEdges({object})) ==
        "a: 203.0.113.1 tcp/80 -> 192.168.1.10:80 for default/m/here\n"
        "Refused\n"
        "  PreserveNotPossible: PortBinding default/m: spec.bindings[1] "
        "\"there\": clientIP: Preserve needs a target on the host of an "
        "uplink, and none has the address 10.0.0.5\n");
}

TEST_CASE("planner: a target in a tunnel network is refused", "[planner]") {
  PortBinding object = Object("m", "a", {Bind("loop", "TCP", 80)});
  object.bindings[0].target.address = "10.200.4.16";
  CHECK(Text(TwoEdges({object})) ==
        "Refused\n"
        "  InvalidTarget: PortBinding default/m: spec.bindings[0] \"loop\": "
        "target.address: 10.200.4.16 lies in the tunnel network 10.200.4.0/22 "
        "of EdgeNode b\n");
}

TEST_CASE("planner: families do not mix", "[planner]") {
  World world = TwoEdges({Object("m", "a", {Bind("six", "TCP", 80)})});
  world.port_bindings[0].bindings[0].target.address = "2001:db8::5";
  CHECK(Text(world) ==
        "Refused\n"
        "  FamilyMismatch: PortBinding default/m: spec.bindings[0] \"six\": "
        "public address 203.0.113.1 and target 2001:db8::5 are of different "
        "families\n");
  world.port_bindings[0].bindings[0].public_ip = "*";
  CHECK(Text(world) ==
        "Refused\n"
        "  FamilyMismatch: PortBinding default/m: spec.bindings[0] \"six\": "
        "EdgeNode a has no public address of the family of target "
        "2001:db8::5\n");
  world.edge_nodes[0].public_ips.push_back({.address = Ip("2001:db8::1")});
  world.edge_nodes[0].public_ips.push_back({.address = Ip("2001:db8::2")});
  CHECK(Text(world) ==
        "a: 2001:db8::1 tcp/80 -> [2001:db8::5]:80 for default/m/six\n"
        "a: 2001:db8::2 tcp/80 -> [2001:db8::5]:80 for default/m/six\n");
  world.port_bindings[0].bindings[0].target.address = "10.0.0.5";
  world.port_bindings[0].bindings[0].public_ip = "2001:db8::2";
  CHECK(Text(world) ==
        "Refused\n"
        "  FamilyMismatch: PortBinding default/m: spec.bindings[0] \"six\": "
        "public address 2001:db8::2 and target 10.0.0.5 are of different "
        "families\n");
}

TEST_CASE("planner: says what is against IPv6 on the uplink's host",
          "[planner]") {
  World world = TwoEdges({Object("m", "a", {Bind("six", "TCP", 80)})});
  world.edge_nodes[0].public_ips = {{.address = Ip("2001:db8::1")}};
  world.port_bindings[0].bindings[0].target.address = "2001:db8::5";
  Facts facts = FactsFor({"a", "b"});
  const auto text = [&] { return Text(PlanOf(world, facts)); };
  facts.ipv6.not_forwarding = "the sysctl is 0";
  CHECK(text() ==
        "Refused\n"
        "  Ipv6ForwardingOff: PortBinding default/m: spec.bindings[0] \"six\": "
        "target.address: 2001:db8::5: the sysctl is 0\n");
  facts.local_addresses.push_back(Ip("2001:db8::5"));  // needs no forwarding
  CHECK(text() ==
        "a: 2001:db8::1 tcp/80 -> [2001:db8::5]:80 for default/m/six\n");
  facts.ipv6.off = "there is none";
  CHECK(text() ==
        "Refused\n"
        "  Ipv6NotAvailable: PortBinding default/m: spec.bindings[0] \"six\": "
        "target.address: 2001:db8::5: there is none\n");
}

TEST_CASE("planner: a target may not lie in the IPv6 network of a tunnel",
          "[planner]") {
  World world = TwoEdges({Object("m", "a", {Bind("six", "TCP", 80)})});
  world.edge_nodes[1].tunnel.network6 = Prefix("fd00:9::/64");
  world.port_bindings[0].bindings[0].target.address = "fd00:9::400:0:0:0";
  CHECK(Text(world) ==
        "Refused\n"
        "  InvalidTarget: PortBinding default/m: spec.bindings[0] \"six\": "
        "target.address: fd00:9:0:0:400:: lies in the tunnel network "
        "fd00:9::/64 of EdgeNode b\n");
}

TEST_CASE("planner: an edge without a network refuses its bindings",
          "[planner]") {
  World world = TwoEdges({Object("m", "b", {Bind("x", "TCP", 80)})});
  world.edge_nodes[0].tunnel.network = Prefix("10.9.0.0/22");
  world.edge_nodes[1].tunnel.network = Prefix("10.9.0.0/22");
  const Plan plan = PlanOf(world, FactsFor({"a", "b"}));
  CHECK(plan.Edge("b") == nullptr);
  CHECK(Text(plan) ==
        "Refused\n"
        "  NetworkOverlap: EdgeNode b: spec.tunnel.network: 10.9.0.0/22 "
        "overlaps the network 10.9.0.0/22 of EdgeNode a\n"
        "  EdgeNodeNotReady: PortBinding default/m: spec.bindings[0] \"x\": "
        "EdgeNode b cannot be served, see its conditions\n");
}

TEST_CASE("planner: one wrong binding leaves the others", "[planner]") {
  PortBinding object =
      Object("m", "a", {Bind("good", "TCP", 80), Bind("wrong", "TCP", 0)});
  const Plan plan = PlanOf(TwoEdges({object}), FactsFor({"a"}));
  CHECK(Text(plan) ==
        "a: 203.0.113.1 tcp/80 -> 10.0.0.5:80 for default/m/good\n"
        "Refused\n"
        "  InvalidPort: PortBinding default/m: spec.bindings[1].listenPort: 0 "
        "is not a port (1-65535)\n");
  REQUIRE(plan.port_bindings.size() == 1);
  CHECK(plan.port_bindings[0].bindings[0].placements.size() == 1);
  CHECK(plan.port_bindings[0].bindings[1].refused->reason == "InvalidPort");
}

TEST_CASE("planner: uplinks without a key there are left out", "[planner]") {
  const World world = TwoEdges({Object("m", "b", {Bind("x", "TCP", 80)})});
  const Plan plan = PlanOf(world, FactsFor({"a"}));
  CHECK(plan.Edge("b")->wanted.uplinks.empty());
  CHECK(plan.Edge("b")->wanted.groups.at(0).uplinks.empty());
}

TEST_CASE("planner: the order of the input means nothing", "[planner]") {
  std::mt19937 random(7);
  World world;
  for (int i = 0; i < 8; ++i) {
    world.edge_nodes.push_back(
        Edge(fmt::format("e{}", i), {fmt::format("203.0.113.{}", i + 1)}));
    world.edge_nodes.back().meta.labels["half"] = i % 2 ? "odd" : "even";
  }
  for (int i = 0; i < 40; ++i) {
    PortBinding object =
        Object(fmt::format("o{}", i), fmt::format("e{}", i % 8),
               {Bind("x", "TCP", 8000 + i % 11),
                BindRange("y", "UDP", 1000 + i * 7, 1020 + i * 7)});
    if (i % 3 == 0) object.meta.created = At(i % 5);
    if (i % 4 == 0) {
      object.edge_node.reset();
      object.edge_node_selector = Selector{{{"half", "odd"}}};
    }
    world.port_bindings.push_back(object);
  }
  Facts facts = FactsFor({"e0", "e1", "e2"});
  facts.uplinks.push_back({.name = "another", .keys = {{"e1", KeyNumber(9)}}});
  const Allocation allocation = Allocate({}, world, facts);
  const Plan plan = MakePlan(world, allocation, facts);
  REQUIRE(PlanText(plan).find("ListenerConflict") != std::string::npos);
  for (int round = 0; round < 20; ++round) {
    std::ranges::shuffle(world.edge_nodes, random);
    std::ranges::shuffle(world.port_bindings, random);
    std::ranges::shuffle(facts.uplinks, random);
    REQUIRE(Allocate({}, world, facts) == allocation);
    REQUIRE(MakePlan(world, allocation, facts) == plan);
  }
}

// Names and timeouts of an edge's groups.
std::string GroupsOf(const Plan& plan, const std::string& edge) {
  std::string text;
  for (const protocol::Group& group : plan.Edge(edge)->wanted.groups) {
    text += fmt::format("{} tcp {} udp {}\n", group.public_address.ToString(),
                        group.timeouts.tcp_idle.count(),
                        group.timeouts.udp_session.count());
  }
  return text;
}

TEST_CASE("planner: bindings that admit others have groups of their own",
          "[planner]") {
  Binding plain = Bind("plain", "TCP", 80);
  Binding some = Bind("some", "TCP", 81);
  some.access = AccessOptions{.allow_cidrs = {"10.0.0.0/8", "192.0.2.0/24"}};
  Binding same = Bind("same", "UDP", 81);
  same.access = AccessOptions{.allow_cidrs = {"192.0.2.0/24", "10.0.0.0/8"}};
  Binding fewer = Bind("fewer", "TCP", 82);
  fewer.access = AccessOptions{.allow_cidrs = {"10.0.0.0/8"},
                               .deny_cidrs = {"10.1.0.0/16"}};
  const World world{{Edge("a", {"203.0.113.1"})},
                    {Object("web", "a", {plain, some, same, fewer})}};
  const auto wanted = PlanOf(world, FactsFor({"a"})).Edge("a")->wanted;
  std::map<std::string, std::string> access;  // by group
  for (const protocol::Group& group : wanted.groups) {
    access[group.name] = group.access.ToString();
  }
  std::vector<std::string> of;
  for (const protocol::Mapping& mapping : wanted.mappings) {
    of.push_back(access.at(mapping.group));
  }
  CHECK(access.size() == 3);
  CHECK(of == std::vector<std::string>{"", "10.0.0.0/8 192.0.2.0/24",
                                       "10.0.0.0/8 not 10.1.0.0/16",
                                       "10.0.0.0/8 192.0.2.0/24"});
}

TEST_CASE("planner: bindings of one timeout share a group", "[planner]") {
  using std::chrono::milliseconds;
  Binding plain = Bind("plain", "TCP", 80);
  Binding idle = Bind("idle", "TCP", 81);
  idle.tcp =
      TcpOptions{.idle_timeout = WrittenDuration{"1h", std::chrono::hours(1)}};
  Binding same = idle;
  same.name = "same";
  same.listen_port = 82;
  Binding session = Bind("session", "UDP", 80);
  session.udp = UdpOptions{.session_timeout =
                               WrittenDuration{"2s", std::chrono::seconds(2)}};
  World world{{Edge("a", {"203.0.113.1"})},
              {Object("web", "a", {plain, idle, same, session})}};
  Facts facts = FactsFor({"a"});
  const Plan plan = PlanOf(world, facts);
  const auto& wanted = plan.Edge("a")->wanted;
  REQUIRE(wanted.groups.size() == 3);
  REQUIRE(wanted.mappings.size() == 4);
  CHECK(wanted.mappings[1].group == wanted.mappings[2].group);
  CHECK(wanted.mappings[0].group != wanted.mappings[1].group);
  CHECK(wanted.mappings[0].group != wanted.mappings[3].group);
  const std::string groups = GroupsOf(plan, "a");
  for (const char* line :
       {"203.0.113.1 tcp 0 udp 0\n", "203.0.113.1 tcp 3600 udp 0\n",
        "203.0.113.1 tcp 0 udp 2\n"}) {
    CHECK(groups.find(line) != std::string::npos);
  }
  // A binding without a timeout has the group that it had before there were
  // any.
  World before{{Edge("a", {"203.0.113.1"})}, {Object("web", "a", {plain})}};
  CHECK(PlanOf(before, facts).Edge("a")->wanted.mappings[0].group ==
        wanted.mappings[0].group);

  facts.no_timeouts = "this kernel has none";
  const Plan without = PlanOf(world, facts);
  CHECK(without.Edge("a")->wanted.mappings.size() == 1);
  const auto& bindings = without.port_bindings[0].bindings;
  CHECK(!bindings[0].refused);
  REQUIRE(bindings[1].refused);
  CHECK(bindings[1].refused->reason == "TimeoutsNotAvailable");
  CHECK(bindings[1].refused->message ==
        "PortBinding default/web: spec.bindings[1] \"idle\": has a timeout of "
        "its own, and this kernel has none");
}

}  // namespace
}  // namespace edged::agent
