#include "clusteragent/core/plan_text.h"

#include <catch2/catch.hpp>

#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

TEST_CASE("plan_text: says what each edge gets and what is refused",
          "[plan_text]") {
  World world{{Edge("vps", {"203.0.113.1", "203.0.113.2"}),
               Edge("idle", {"198.51.100.7"})},
              {Object("web", "vps",
                      {Bind("https", "TCP", 443),
                       BindRange("media", "UDP", 50000, 50100),
                       Bind("ssh", "TCP", 22)})}};
  world.edge_nodes[0].tunnel.mtu = 1280;
  world.edge_nodes[1].public_ips[0].interface = "eth0";
  world.edge_nodes[1].public_ips[0].nic_address = Ip("10.0.2.15");
  world.port_bindings[0].bindings[0].target.address = "192.168.1.10";
  world.port_bindings[0].bindings[0].client_ip = "Preserve";
  CHECK(PlanText(PlanOf(world, FactsFor({"vps", "idle"}))) ==
        R"(EdgeNode idle
  dial       198.51.100.7 port 51820
  network    10.200.0.0/22
  network6   fd6a:3863:fc1a:1::/64
  tunnel     mtu auto, keepalive 25 s
  heartbeat  every 250 ms, dead after 3 missed
  public     198.51.100.7 (index 1 on eth0, there 10.0.2.15)
  uplink     home (10.200.0.16/28, key AQEBAQEB)
EdgeNode vps
  dial       203.0.113.1 port 51820
  network    10.200.4.0/22
  network6   fd6a:3863:fc1a:2::/64
  tunnel     mtu 1280, keepalive 25 s
  heartbeat  every 250 ms, dead after 3 missed
  public     203.0.113.1 (index 1)
  public     203.0.113.2 (index 2)
  uplink     home (10.200.4.16/28, key AQEBAQEB)
  group      g-9d011ef49515: 203.0.113.1 to [home]
  group      g-dd77e931a346: 203.0.113.1 to [home]
  map  203.0.113.1 tcp/443          to  192.168.1.10:443     Preserve    default/web/https
  map  203.0.113.1 udp/50000-50100  to  10.0.0.5, same port  Masquerade  default/web/media
Refused
  PortReserved: PortBinding default/web: spec.bindings[2] "ssh": tcp/22 touches tcp/22, a reserved port of EdgeNode vps
)");
}

TEST_CASE("plan_text: an empty world is said to be empty", "[plan_text]") {
  CHECK(PlanText(Plan()) == "no EdgeNode and no PortBinding\n");
}

TEST_CASE("plan_text: the mistake of a whole object stands once",
          "[plan_text]") {
  PortBinding object =
      Object("web", "vps", {Bind("a", "TCP", 80), Bind("b", "TCP", 81)});
  object.edge_node.reset();
  CHECK(PlanText(PlanOf({{}, {object}}, FactsFor({}))) ==
        "Refused\n"
        "  InvalidEdgeNodeRef: PortBinding default/web: spec: has neither "
        "edgeNodeRef nor edgeNodeSelector\n");
}

}  // namespace
}  // namespace edged::agent
