#include "clusteragent/core/uplink_plan.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "common/nftables/check.h"
#include "common/nftables/print.h"
#include "tests/clusteragent/core/objects_for_test.h"
#include "tests/fakes/packet_walk.h"

namespace edged::agent {
namespace {

using nftables::HookPoint;
using nftables::Packet;

// Two edges, "a" with network 10.200.0.0/22 and "b" with 10.200.4.0/22; this
// uplink has block 1 of each.
World TwoEdges() {
  PortBinding object =
      Object("web", "a",
             {Bind("http", "TCP", 80), BindRange("media", "UDP", 100, 200)});
  object.bindings[0].target.port = 8080;
  object.edge_node.reset();
  object.edge_node_selector = Selector();
  return {{Edge("a", {"203.0.113.1"}), Edge("b", {"203.0.113.129"})}, {object}};
}

UplinkInput InputFor(const std::vector<std::string>& edges) {
  UplinkInput input{.uplink = "home", .forwarding_everywhere = true};
  for (const std::string& edge : edges) {
    input.access[edge] = {.own_key = PrivateKey(KeyNumber(0x40).bytes()),
                          .edge_key = KeyNumber(7),
                          .endpoint = SocketAddress{Ip("203.0.113.1"), 51820}};
  }
  return input;
}

UplinkPlan Make(const UplinkInput& input, const World& world = TwoEdges()) {
  return MakeUplinkPlan(PlanOf(world, FactsFor({"a", "b"})), input).value();
}

constexpr char kDeviceA[] = "eu-6f72ef82";
constexpr char kDeviceB[] = "eu-b3f3310f";

std::string Text(const UplinkDevice& device) {
  std::string text = fmt::format("{} mtu {} forwarding {} rp_filter {}\n",
                                 device.wireguard.name, device.mtu,
                                 device.conf.forwarding, device.conf.rp_filter);
  for (const wireguard::Peer& peer : device.wireguard.peers) {
    text += fmt::format("peer {} at {} keepalive {}:", peer.key.Short(),
                        peer.endpoint ? peer.endpoint->ToString() : "-",
                        peer.keepalive_seconds);
    for (const IpPrefix& prefix : peer.allowed_ips) {
      text += " " + prefix.ToString();
    }
    text += "\n";
  }
  for (const netlink::Address& address : device.addresses) {
    text += fmt::format("address {}/{}\n", address.address.ToString(),
                        address.prefix_length);
  }
  for (const netlink::Route& route : device.routes) {
    text += fmt::format("route {} table 0x{:x} from {}\n",
                        route.destination.ToString(), route.table,
                        route.source ? route.source->ToString() : "-");
  }
  return text;
}

TEST_CASE("uplink_plan: a device per edge with its policy table",
          "[uplink_plan]") {
  const UplinkPlan plan = Make(InputFor({"a", "b"}));
  REQUIRE(plan.devices.size() == 2);
  CHECK(Text(plan.devices[1]) ==
        fmt::format(R"({} mtu 1420 forwarding true rp_filter 2
peer BwcHBwcH at 203.0.113.1:51820 keepalive 25: 0.0.0.0/0 ::/0
address 10.200.4.16/32
route 10.200.4.1/32 table 0xfe from 10.200.4.16
route 0.0.0.0/0 table 0xed02 from -
)",
                    kDeviceB));
  CHECK(plan.devices[1].wireguard.private_key ==
        PrivateKey(KeyNumber(0x40).bytes()));
  REQUIRE(plan.rules.size() == 2);
  CHECK(plan.rules[1] == netlink::Rule{.family = Family::kIpv4,
                                       .priority = 100,
                                       .mark = 2,
                                       .mask = 0xff,
                                       .table = 0xed02});
  CHECK(plan.links.empty());
}

TEST_CASE("uplink_plan: a device's name fits and stays", "[uplink_plan]") {
  const Plan plan = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  EdgePlan edge = *plan.Edge("a");
  CHECK(DeviceName(edge, "home") == kDeviceA);
  CHECK(DeviceName(*plan.Edge("b"), "home") == kDeviceB);
  CHECK(DeviceName(edge, "other") != kDeviceA);
  edge.uid = "5e6c";
  CHECK(DeviceName(edge, "home") != kDeviceA);
  CHECK(DeviceName(edge, "home").size() <= 15);
}

TEST_CASE("uplink_plan: the table is what nft lists", "[uplink_plan]") {
  const UplinkPlan plan = Make(InputFor({"a"}));
  CHECK(nftables::Print(plan.table) == R"(table inet clusteragent {
	set tunnels {
		type ifname
		elements = { "eu-6f72ef82" }
	}

	map targets4 {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 10.200.0.17 . tcp . 80 : 10.0.0.5 . 8080 }
	}

	map target_ranges4 {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr
		flags interval
		elements = { 10.200.0.17 . udp . 100-200 : 10.0.0.5 }
	}

	chain mark-edge {
		type filter hook prerouting priority mangle; policy accept;
		iifname "eu-6f72ef82" ct state new ct mark set ct mark & 0xffffff01 | 0x00000001
		iifname != @tunnels ct direction reply ct mark & 0x000000ff == 0x00000001 meta mark set meta mark & 0xffffff01 | 0x00000001
	}

	chain mark-own {
		type route hook output priority mangle; policy accept;
		ct direction reply ct mark & 0x000000ff == 0x00000001 meta mark set meta mark & 0xffffff01 | 0x00000001
	}

	chain prerouting {
		type nat hook prerouting priority dstnat - 10; policy accept;
		iifname @tunnels dnat ip to ip daddr . meta l4proto . th dport map @targets4
		iifname @tunnels dnat ip to ip daddr . meta l4proto . th dport map @target_ranges4
	}

	chain postrouting {
		type nat hook postrouting priority srcnat - 10; policy accept;
		iifname @tunnels ct status dnat masquerade
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname @tunnels ct status dnat accept
		iifname @tunnels meta l4proto tcp reject with tcp reset
		iifname @tunnels reject
		oifname @tunnels ct state established,related ct mark & 0x000000ff != 0x00000000 accept
		oifname @tunnels drop
	}

	chain input {
		type filter hook input priority filter; policy accept;
		iifname @tunnels ct status dnat accept
		iifname @tunnels ct state established,related accept
		iifname @tunnels icmp type echo-request accept
		iifname @tunnels drop
	}
}
)");
}

TEST_CASE("uplink_plan: every object of the table is one the kernel takes",
          "[uplink_plan]") {
  UplinkInput input = InputFor({"a", "b"});
  input.forwarding_everywhere = false;
  input.target_links = {{"eth0", {}}};
  const nftables::Table table = Make(input).table;
  for (const auto& set : table.sets) {
    CHECK(nftables::CheckSet(set.set).ok());
    for (const auto& element : set.elements) {
      CHECK(nftables::CheckElement(set.set, element).ok());
    }
  }
  for (const auto& chain : table.chains) {
    for (const auto& rule : chain.rules) {
      CHECK(nftables::CheckRule(rule).ok());
    }
  }
}

// A client's packet as it comes out of a tunnel.
Packet FromEdge(const char* device, const char* destination, uint16_t port) {
  return {.iif = device,
          .source = Ip("198.51.100.9"),
          .destination = Ip(destination),
          .source_port = 40000,
          .destination_port = port};
}

std::string Ends(const nftables::Table& table, Packet packet,
                 const std::vector<HookPoint>& hooks) {
  return nftables::WalkHooks(table, hooks, std::move(packet));
}

const std::vector<HookPoint> kThrough = {
    HookPoint::kPrerouting, HookPoint::kForward, HookPoint::kPostrouting};
const std::vector<HookPoint> kHere = {HookPoint::kPrerouting,
                                      HookPoint::kInput};

TEST_CASE("uplink_plan: a mapped connection is marked, sent on, masqueraded",
          "[uplink_plan]") {
  const nftables::Table table = Make(InputFor({"a", "b"})).table;
  Packet packet = FromEdge(kDeviceA, "10.200.0.17", 80);
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, dnat to 10.0.0.5:8080, "
        "accept; forward: accept; postrouting: masquerade, accept");
  packet = FromEdge(kDeviceB, "10.200.4.17", 80);
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000002, dnat to 10.0.0.5:8080, "
        "accept; forward: accept; postrouting: masquerade, accept");
  packet = FromEdge(kDeviceA, "10.200.0.17", 150);
  packet.protocol = 17;
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, dnat to 10.0.0.5, accept; "
        "forward: accept; postrouting: masquerade, accept");
}

TEST_CASE("uplink_plan: a target on this host sees the client",
          "[uplink_plan]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  CHECK(Ends(table, FromEdge(kDeviceA, "10.200.0.17", 80), kHere) ==
        "prerouting: ct mark 0x00000001, dnat to 10.0.0.5:8080, "
        "accept; input: accept");
}

TEST_CASE("uplink_plan: what is not mapped is refused at once",
          "[uplink_plan]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  Packet packet = FromEdge(kDeviceA, "10.200.0.17", 81);
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, accept; forward: "
        "reject with tcp reset");
  packet.protocol = 17;
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, accept; forward: reject");
  packet = FromEdge(kDeviceA, "10.200.4.17", 80);  // another edge's address
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, accept; forward: "
        "reject with tcp reset");
}

TEST_CASE("uplink_plan: an edge reaches nothing of this host itself",
          "[uplink_plan]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  CHECK(Ends(table, FromEdge(kDeviceA, "10.200.0.16", 22), kHere) ==
        "prerouting: ct mark 0x00000001, accept; input: drop");
  Packet echo = FromEdge(kDeviceA, "10.200.0.16", 0);
  echo.protocol = 1;
  CHECK(Ends(table, echo, kHere) ==
        "prerouting: ct mark 0x00000001, accept; input: accept");
  Packet heartbeat = FromEdge(kDeviceA, "10.200.0.16", 40000);
  heartbeat.protocol = 17;
  heartbeat.ct_state = nftables::kCtEstablished;
  CHECK(Ends(table, heartbeat, kHere) == "prerouting: accept; input: accept");
  Packet other = FromEdge("eth0", "192.168.1.10", 22);
  CHECK(Ends(table, other, kHere) == "prerouting: accept; input: accept");
}

TEST_CASE("uplink_plan: a reply leaves by the tunnel of its connection",
          "[uplink_plan]") {
  const nftables::Table table = Make(InputFor({"a", "b"})).table;
  Packet reply{.iif = "eth0",
               .oif = kDeviceB,
               .source = Ip("10.0.0.5"),
               .destination = Ip("192.168.1.10"),
               .source_port = 8080,
               .destination_port = 40000,
               .ct_state = nftables::kCtEstablished,
               .ct_status = nftables::kCtStatusDnat,
               .ct_direction = nftables::kCtReply,
               .ct_mark = 0xabc002,
               .mark = 0x5500};
  CHECK(Ends(table, reply, kThrough) ==
        "prerouting: mark 0x00005502, accept; forward: accept; "
        "postrouting: accept");
  reply.iif = "";
  CHECK(Ends(table, reply, {HookPoint::kOutput}) ==
        "output: mark 0x00005502, accept");
  // An ICMP error about an answer goes to the target, not into the tunnel.
  reply.ct_direction = nftables::kCtOriginal;
  CHECK(Ends(table, reply, {HookPoint::kOutput}) == "output: accept");
  reply.ct_direction = nftables::kCtReply;
  reply.ct_mark = 0xabc000;
  CHECK(Ends(table, reply, {HookPoint::kOutput}) == "output: accept");
}

TEST_CASE("uplink_plan: nobody else gets into a tunnel", "[uplink_plan]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  Packet packet{.iif = "eth0",
                .oif = kDeviceA,
                .source = Ip("192.168.1.77"),
                .destination = Ip("10.200.0.1"),
                .source_port = 40000,
                .destination_port = 7443};
  CHECK(Ends(table, packet, kThrough) == "prerouting: accept; forward: drop");
}

TEST_CASE("uplink_plan: where nothing forwards, only our links do, for us",
          "[uplink_plan]") {
  UplinkInput input = InputFor({"a"});
  input.forwarding_everywhere = false;
  input.target_links = {{"eth0", {.forwarding = false, .rp_filter = 1}},
                        {"eth1", {.forwarding = true, .rp_filter = 0}}};
  const UplinkPlan plan = Make(input);
  CHECK(plan.links ==
        std::vector<LinkConf>{{"eth0", {.forwarding = true, .rp_filter = 1}}});
  Packet packet{.iif = "eth0",
                .oif = "eth9",
                .source = Ip("192.168.1.77"),
                .destination = Ip("198.51.100.1"),
                .source_port = 40000,
                .destination_port = 80};
  CHECK(Ends(plan.table, packet, {HookPoint::kForward}) == "forward: drop");
  packet.iif = "eth1";
  CHECK(Ends(plan.table, packet, {HookPoint::kForward}) == "forward: drop");
  packet.iif = "br0";
  CHECK(Ends(plan.table, packet, {HookPoint::kForward}) == "forward: accept");
  input.forwarding_everywhere = true;
  packet.iif = "eth0";
  CHECK(Ends(Make(input).table, packet, {HookPoint::kForward}) ==
        "forward: accept");
}

TEST_CASE("uplink_plan: the mark moves with the mask", "[uplink_plan]") {
  UplinkInput input = InputFor({"a", "b"});
  input.mark_mask = 0xff0000;
  const UplinkPlan plan = Make(input);
  CHECK(plan.rules[1].mark == 0x020000);
  CHECK(plan.rules[1].mask == 0xff0000);
  CHECK(plan.rules[1].table == 0xed02);
  Packet packet = FromEdge(kDeviceB, "10.200.4.17", 80);
  packet.oif = "eth0";
  packet.ct_mark = 0x7700ff;
  CHECK(Ends(plan.table, packet, {HookPoint::kPrerouting}) ==
        "prerouting: ct mark 0x000200ff, dnat to 10.0.0.5:8080, "
        "accept");
  input.mark_mask = 0;
  CHECK(MakeUplinkPlan(Plan(), input).status().message() ==
        "mark mask 0x0: needs adjacent bits, like 0xff");
  input.mark_mask = 0x5;
  CHECK_FALSE(MakeUplinkPlan(Plan(), input).ok());
  input.mark_mask = 0x100;
  const Plan two = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  CHECK(MakeUplinkPlan(two, input).status().message() ==
        "mark mask 0x100: too small for EdgeNode b, which has number 2");
}

TEST_CASE("uplink_plan: edges that cannot be reached yet are left out",
          "[uplink_plan]") {
  UplinkInput input = InputFor({"a", "b"});
  input.access["a"].edge_key.reset();
  input.access["b"].endpoint.reset();
  const UplinkPlan plan = Make(input);
  REQUIRE(plan.devices.size() == 1);
  CHECK(plan.devices[0].edge == "b");
  CHECK(plan.devices[0].wireguard.peers[0].endpoint == std::nullopt);
  CHECK(Make(InputFor({})).devices.empty());
  World elsewhere = TwoEdges();
  elsewhere.edge_nodes[0].uplink_selector.match_labels = {{"zone", "x"}};
  CHECK(Make(InputFor({"a"}), elsewhere).devices.empty());
}

TEST_CASE("uplink_plan: a mapping on an address that the edge lost is left out",
          "[uplink_plan]") {
  Plan plan = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  plan.edges[0].wanted.settings.public_addresses.clear();
  const auto table = MakeUplinkPlan(plan, InputFor({"a"}))->table;
  CHECK(Ends(table, FromEdge(kDeviceA, "10.200.0.17", 80), kHere) ==
        "prerouting: ct mark 0x00000001, accept; input: drop");
}

TEST_CASE("uplink_plan: the MTU follows the link below unless it is given",
          "[uplink_plan]") {
  UplinkInput input = InputFor({"a"});
  World world = TwoEdges();
  const auto mtu = [&] { return Make(input, world).devices.at(0).mtu; };
  input.access["a"].underlay_mtu = 9000;
  CHECK(mtu() == 8920);
  input.access["a"].underlay_mtu = 1300;
  CHECK(mtu() == 1280);
  input.access["a"].underlay_mtu = 0;
  CHECK(mtu() == 1280);
  world.edge_nodes[0].tunnel.mtu = 1380;
  CHECK(mtu() == 1380);
}

TEST_CASE("uplink_plan: the control device reaches the API and nothing else",
          "[uplink_plan]") {
  const Plan plan = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  EdgeAccess access = InputFor({"a"}).access["a"];
  const PrivateKey control(KeyNumber(0x50).bytes());
  const auto device =
      MakeControlDevice(*plan.Edge("a"), access, control, "home");
  REQUIRE(device.ok());
  CHECK(Text(*device) == R"(ec-6f72ef82 mtu 1420 forwarding false rp_filter 2
peer BwcHBwcH at 203.0.113.1:51820 keepalive 25: 10.200.0.1/32
address 10.200.0.2/32
route 10.200.0.1/32 table 0xfe from 10.200.0.2
)");
  CHECK(device->wireguard.private_key == control);
  access.edge_key.reset();
  CHECK(MakeControlDevice(*plan.Edge("a"), access, control, "home")
            .status()
            .message() == "EdgeNode a: its public key is not known yet");
}

}  // namespace
}  // namespace edged::agent
