#pragma once

#include <string>
#include <vector>

#include "clusteragent/core/uplink_plan.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {

// Two edges, "a" with network 10.200.0.0/22 and "b" with 10.200.4.0/22; this
// uplink has block 1 of each.
inline World TwoEdges() {
  PortBinding object =
      Object("web", "a",
             {Bind("http", "TCP", 80), BindRange("media", "UDP", 100, 200)});
  object.bindings[0].target.port = 8080;
  object.edge_node.reset();
  object.edge_node_selector = Selector();
  return {{Edge("a", {"203.0.113.1"}), Edge("b", {"203.0.113.129"})}, {object}};
}

inline UplinkInput InputFor(const std::vector<std::string>& edges) {
  UplinkInput input{.uplink = "home", .forwarding_everywhere = true};
  for (const std::string& edge : edges) {
    input.access[edge] = {.own_key = PrivateKey(KeyNumber(0x40).bytes()),
                          .edge_key = KeyNumber(7),
                          .endpoint = SocketAddress{Ip("203.0.113.1"), 51820}};
  }
  return input;
}

// Edge "a" with a public address of IPv6, too; its network is
// fd6a:3863:fc1a:1::/64. One target is behind this host, one on it.
inline World BothFamilies() {
  World world = TwoEdges();
  world.edge_nodes[0].public_ips.push_back({.address = Ip("2001:db8::1")});
  Binding behind = Bind("http6", "TCP", 80);
  behind.public_ip = "2001:db8::1";
  behind.target = {.address = "fd10::5", .port = 8080};
  Binding here = behind;
  here.name = "here6";
  here.listen_port = 81;
  here.target.address = "fd10::1";
  Binding media = BindRange("media6", "UDP", 100, 200);
  media.public_ip = "2001:db8::1";
  media.target.address = "fd10::5";
  world.port_bindings.push_back(Object("six", "a", {behind, here, media}));
  return world;
}

inline UplinkPlan Make(const UplinkInput& input,
                       const World& world = TwoEdges()) {
  return MakeUplinkPlan(PlanOf(world, FactsFor({"a", "b"})), input).value();
}

inline constexpr char kDeviceA[] = "eu-6f72ef82";
inline constexpr char kDeviceB[] = "eu-b3f3310f";

inline UplinkInput Ipv6InputFor(const std::vector<std::string>& edges) {
  UplinkInput input = InputFor(edges);
  input.ipv6 = {.carried = true, .forwarding_everywhere = true};
  input.local_addresses = {Ip("192.168.1.10"), Ip("fd10::1")};
  return input;
}

}  // namespace edged::agent
