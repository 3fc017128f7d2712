#include "clusteragent/core/uplink_table.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "common/nftables/check.h"
#include "common/nftables/print.h"
#include "tests/clusteragent/core/uplink_for_test.h"
#include "tests/fakes/packet_walk.h"

namespace edged::agent {
namespace {

using nftables::HookPoint;
using nftables::Packet;

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

TEST_CASE("uplink_table: the table is what nft lists", "[uplink_table]") {
  const UplinkPlan plan = Make(InputFor({"a"}));
  CHECK(nftables::Print(plan.table) == R"(table inet clusteragent {
	set tunnels {
		type ifname
		elements = { "ec-6f72ef82",
			     "eu-6f72ef82",
			     "ec-b3f3310f" }
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
		iifname "eu-6f72ef82" ip daddr != 10.200.0.16/28 drop
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
		iifname @tunnels meta l4proto tcp reject with tcp reset
		iifname @tunnels meta l4proto udp reject
	}

	chain postrouting {
		type nat hook postrouting priority srcnat - 10; policy accept;
		iifname @tunnels ct status dnat masquerade
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		icmp code frag-needed icmp mtu < 1280 iifname @tunnels drop
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

	chain output {
		type filter hook output priority filter; policy accept;
		oifname @tunnels meta l4proto { tcp, udp } ct direction original meta skuid != 0 reject
	}
}
)");
}

TEST_CASE("uplink_table: every object of the table is one the kernel takes",
          "[uplink_table]") {
  UplinkInput input = InputFor({"a", "b"});
  input.forwarding_everywhere = false;
  input.ipv6 = {.carried = true, .may_switch = true};
  input.without_default = {Family::kIpv4, Family::kIpv6};
  input.target_links = {{Family::kIpv4, "eth0"}, {Family::kIpv6, "eth0"}};
  const nftables::Table table = Make(input, BothFamilies()).table;
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

TEST_CASE("uplink_table: a mapped connection is marked, sent on, masqueraded",
          "[uplink_table]") {
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

TEST_CASE("uplink_table: a target on this host sees the client",
          "[uplink_table]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  CHECK(Ends(table, FromEdge(kDeviceA, "10.200.0.17", 80), kHere) ==
        "prerouting: ct mark 0x00000001, dnat to 10.0.0.5:8080, "
        "accept; input: accept");
}

TEST_CASE("uplink_table: what is not mapped is refused at once",
          "[uplink_table]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  Packet packet = FromEdge(kDeviceA, "10.200.0.17", 81);
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, reject with tcp reset");
  packet.protocol = 17;
  CHECK(Ends(table, packet, kThrough) ==
        "prerouting: ct mark 0x00000001, reject");
}

TEST_CASE("uplink_table: an edge reaches nothing that another one maps",
          "[uplink_table]") {
  const nftables::Table table = Make(InputFor({"a", "b"})).table;
  Packet packet = FromEdge(kDeviceA, "10.200.4.17", 443);
  packet.oif = "eth0";
  CHECK(Ends(table, packet, kThrough) == "prerouting: drop");
}

TEST_CASE("uplink_table: an edge reaches nothing of this host itself",
          "[uplink_table]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  CHECK(Ends(table, FromEdge(kDeviceA, "10.200.0.16", 22), kHere) ==
        "prerouting: ct mark 0x00000001, reject with tcp reset");
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

TEST_CASE("uplink_table: a reply leaves by the tunnel of its connection",
          "[uplink_table]") {
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

TEST_CASE("uplink_table: only the agent's user dials an edge",
          "[uplink_table]") {
  UplinkInput input = InputFor({"a"});
  input.user = 65534;
  const nftables::Table table = Make(input).table;
  Packet dial{.oif = kDeviceA,
              .source = Ip("10.200.0.16"),
              .destination = Ip("10.200.0.1"),
              .source_port = 40000,
              .destination_port = 7443,
              .user = 65534};
  const std::vector<HookPoint> out = {HookPoint::kOutput};
  CHECK(Ends(table, dial, out) == "output: accept");
  dial.user = 1000;
  CHECK(Ends(table, dial, out) == "output: reject");
  dial.protocol = 17;
  CHECK(Ends(table, dial, out) == "output: reject");
  dial.oif = "ec-6f72ef82";  // while the agent introduces itself
  CHECK(Ends(table, dial, out) == "output: reject");
  dial.oif = "eth0";
  CHECK(Ends(table, dial, out) == "output: accept");
  // A target on this host answers, and the kernel speaks for nobody.
  dial.oif = kDeviceA;
  dial.ct_direction = nftables::kCtReply;
  CHECK(Ends(table, dial, out) == "output: accept");
  dial.ct_direction = nftables::kCtOriginal;
  dial.user.reset();
  CHECK(Ends(table, dial, out) == "output: accept");
}

TEST_CASE("uplink_table: an edge that is not reached yet gets no way in",
          "[uplink_table]") {
  const nftables::Table table = Make(InputFor({})).table;
  CHECK(Ends(table, FromEdge("ec-6f72ef82", "10.200.0.2", 22), kHere) ==
        "prerouting: reject with tcp reset");
}

TEST_CASE("uplink_table: nobody else gets into a tunnel", "[uplink_table]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  Packet packet{.iif = "eth0",
                .oif = kDeviceA,
                .source = Ip("192.168.1.77"),
                .destination = Ip("10.200.0.1"),
                .source_port = 40000,
                .destination_port = 7443};
  CHECK(Ends(table, packet, kThrough) == "prerouting: accept; forward: drop");
}

TEST_CASE("uplink_table: where nothing forwards, only our links do, for us",
          "[uplink_table]") {
  UplinkInput input = InputFor({"a"});
  input.forwarding_everywhere = false;
  input.target_links = {
      {Family::kIpv4, "eth0", {.forwarding = false, .rp_filter = 1}},
      {Family::kIpv4, "eth1", {.forwarding = true, .rp_filter = 0}}};
  const UplinkPlan plan = Make(input);
  CHECK(plan.links == std::vector<LinkConf>{{{"eth0"}, true}});
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

TEST_CASE("uplink_table: IPv6 connections go the way of IPv4 ones",
          "[uplink_table]") {
  const nftables::Table table = Make(Ipv6InputFor({"a"}), BothFamilies()).table;
  const auto from_edge = [](uint16_t port, uint8_t protocol) {
    Packet packet = FromEdge(kDeviceA, "fd6a:3863:fc1a:1:400::1", port);
    packet.source = Ip("2001:db8:9::9");
    packet.protocol = protocol;
    packet.oif = "eth0";
    return packet;
  };
  CHECK(Ends(table, from_edge(80, 6), kThrough) ==
        "prerouting: ct mark 0x00000001, dnat to [fd10::5]:8080, "
        "accept; forward: accept; postrouting: masquerade, accept");
  CHECK(Ends(table, from_edge(150, 17), kThrough) ==
        "prerouting: ct mark 0x00000001, dnat to fd10::5, accept; "
        "forward: accept; postrouting: masquerade, accept");
  CHECK(Ends(table, from_edge(82, 6), kThrough) ==
        "prerouting: ct mark 0x00000001, reject with tcp reset");
  CHECK(Ends(table, from_edge(81, 6), kHere) ==
        "prerouting: ct mark 0x00000001, dnat to [fd10::1]:8080, "
        "accept; input: accept");
  Packet echo = FromEdge(kDeviceA, "fd6a:3863:fc1a:1:400::", 0);
  echo.source = Ip("fd6a:3863:fc1a:1::1");
  echo.protocol = 58;
  echo.icmp_type = 128;
  CHECK(Ends(table, echo, kHere) ==
        "prerouting: ct mark 0x00000001, accept; input: accept");
}

TEST_CASE("uplink_table: the way out that answers borrow is nobody else's",
          "[uplink_table]") {
  UplinkInput input = Ipv6InputFor({"a"});
  input.without_default = {Family::kIpv4, Family::kIpv6};
  const nftables::Table table = Make(input, BothFamilies()).table;
  Packet packet{.oif = kDeviceA,
                .source = Ip("fd10::1"),
                .destination = Ip("2001:db8:9::9"),
                .source_port = 40000,
                .destination_port = 443};
  const auto end = [&] { return Ends(table, packet, {HookPoint::kOutput}); };
  CHECK(end() == "output: reject");
  packet.ct_mark = 1;  // of a connection that came from an edge
  packet.ct_direction = nftables::kCtReply;
  CHECK(end() == "output: mark 0x00000001, accept");
  packet.ct_mark = 0;
  packet.ct_direction = nftables::kCtOriginal;
  packet.destination = Ip("fd6a:3863:fc1a:1::1");  // the edge itself
  CHECK(end() == "output: accept");
  packet.destination = Ip("2001:db8:9::9");
  packet.oif = "eth0";
  CHECK(end() == "output: accept");
  packet = {.oif = kDeviceA,
            .source = Ip("192.168.1.10"),
            .destination = Ip("198.51.100.9"),
            .source_port = 40000,
            .destination_port = 443};
  CHECK(end() == "output: reject");
  packet.destination = Ip("10.200.0.1");
  CHECK(end() == "output: accept");
}

TEST_CASE("uplink_table: IPv6 is forwarded by single links where that can be",
          "[uplink_table]") {
  UplinkInput input = Ipv6InputFor({"a"});
  input.ipv6.forwarding_everywhere = false;
  input.target_links = {{Family::kIpv6, "lan", {}, {true, false}}};
  input.switched_links = {{Family::kIpv6, "old", {}, {true, true}}};
  UplinkPlan plan = Make(input, BothFamilies());
  CHECK(plan.links.empty());
  CHECK(!plan.devices.at(0).force_ipv6_forwarding);

  input.ipv6.may_switch = true;
  plan = Make(input, BothFamilies());
  CHECK(plan.devices.at(0).force_ipv6_forwarding);
  CHECK(plan.links == std::vector<LinkConf>{{{"lan", Family::kIpv6}, true},
                                            {{"old", Family::kIpv6}, false}});
  Packet packet{.oif = "eth9",
                .source = Ip("fd10::77"),
                .destination = Ip("2001:db8:9::9"),
                .source_port = 40000,
                .destination_port = 80};
  const auto forward = [&](const char* link) {
    packet.iif = link;
    return Ends(plan.table, packet, {HookPoint::kForward});
  };
  CHECK(forward("lan") == "forward: drop");
  CHECK(forward("old") == "forward: drop");
  CHECK(forward("br0") == "forward: accept");
  packet.source = Ip("10.0.0.77");
  packet.destination = Ip("198.51.100.1");
  CHECK(forward("lan") == "forward: accept");  // IPv4 is not ours here

  input.ipv6.forwarding_everywhere = true;
  plan = Make(input, BothFamilies());
  CHECK(plan.links.empty());
  CHECK(!plan.devices.at(0).force_ipv6_forwarding);
}

TEST_CASE("uplink_table: the mark moves with the mask", "[uplink_table]") {
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

TEST_CASE(
    "uplink_table: a mapping on an address that the edge lost is left out",
    "[uplink_table]") {
  Plan plan = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  plan.edges[0].wanted.settings.public_addresses.clear();
  const auto table = MakeUplinkPlan(plan, InputFor({"a"}))->table;
  CHECK(Ends(table, FromEdge(kDeviceA, "10.200.0.17", 80), kHere) ==
        "prerouting: ct mark 0x00000001, reject with tcp reset");
}

TEST_CASE("uplink_table: no edge says that next to nothing fits",
          "[uplink_table]") {
  const nftables::Table table = Make(InputFor({"a"})).table;
  const auto ends = [&table](const char* device, uint16_t mtu, uint8_t code) {
    Packet packet = FromEdge(device, "10.0.0.5", 0);
    packet.protocol = 1;
    packet.icmp_type = 3;
    packet.icmp_code = code;
    packet.icmp_mtu = mtu;
    packet.ct_state = nftables::kCtRelated;
    packet.ct_status = nftables::kCtStatusDnat;
    return Ends(table, packet, {HookPoint::kForward});
  };
  CHECK(ends(kDeviceA, 1279, 4) == "forward: drop");
  CHECK(ends(kDeviceA, 0, 4) == "forward: drop");
  CHECK(ends(kDeviceA, 1280, 4) == "forward: accept");
  CHECK(ends(kDeviceA, 0, 1) == "forward: accept");  // host unreachable
  CHECK(ends("eth0", 68, 4) == "forward: accept");
}

TEST_CASE("uplink_table: connections of a binding get its timeout",
          "[uplink_table]") {
  World world = BothFamilies();
  using std::chrono::hours;
  for (PortBinding& object : world.port_bindings) {
    for (Binding& binding : object.bindings) {
      if (binding.protocol == "TCP") {
        binding.tcp =
            TcpOptions{.idle_timeout = WrittenDuration{"1h", hours(1)}};
      } else {
        binding.udp = UdpOptions{
            .session_timeout = WrittenDuration{"2s", std::chrono::seconds(2)}};
      }
    }
  }
  UplinkInput input = Ipv6InputFor({"a"});
  input.has_timeouts = true;
  const nftables::Table table = Make(input, world).table;
  std::string text;
  for (const nftables::CtTimeout& timeout : table.timeouts) {
    text += timeout.name + ":";
    for (const auto& [state, seconds] : timeout.seconds) {
      text += fmt::format(" {}={}", state, seconds);
    }
    text += "\n";
  }
  for (const auto& set : table.sets) {
    if (!set.set.name.starts_with("timeout")) continue;
    text += set.set.name + ":";
    for (const auto& element : set.elements) {
      text += " " + nftables::Print(element, set.set);
    }
    text += "\n";
  }
  for (const auto& chain : table.chains) {
    if (chain.name == "prerouting" || chain.name.starts_with("timeout")) {
      text += nftables::Print(chain);
    }
  }
  CHECK(text == R"(tcp-half-open: 1=10 2=10
tcp-3600: 1=10 2=10 3=3600
udp-2: 1=2 2=2
timeouts4: 10.200.0.17 . tcp . 80 : goto timeout-tcp-3600
timeout_ranges4: 10.200.0.17 . udp . 100-200 : goto timeout-udp-2
timeouts6: fd6a:3863:fc1a:1:400::1 . tcp . 80 : goto timeout-tcp-3600 fd6a:3863:fc1a:1:400::1 . tcp . 81 : goto timeout-tcp-3600
timeout_ranges6: fd6a:3863:fc1a:1:400::1 . udp . 100-200 : goto timeout-udp-2
	chain prerouting {
		type nat hook prerouting priority dstnat - 10; policy accept;
		iifname @tunnels jump timeouts
		iifname @tunnels dnat ip to ip daddr . meta l4proto . th dport map @targets4
		iifname @tunnels dnat ip to ip daddr . meta l4proto . th dport map @target_ranges4
		iifname @tunnels dnat ip6 to ip6 daddr . meta l4proto . th dport map @targets6
		iifname @tunnels dnat ip6 to ip6 daddr . meta l4proto . th dport map @target_ranges6
		iifname @tunnels meta l4proto tcp reject with tcp reset
		iifname @tunnels meta l4proto udp reject
	}
	chain timeout-tcp-3600 {
		meta l4proto tcp ct timeout set "tcp-3600"
	}
	chain timeout-udp-2 {
		meta l4proto udp ct timeout set "udp-2"
	}
	chain timeouts {
		iifname @tunnels ip daddr . meta l4proto . th dport vmap @timeouts4
		iifname @tunnels ip daddr . meta l4proto . th dport vmap @timeout_ranges4
		iifname @tunnels ip6 daddr . meta l4proto . th dport vmap @timeouts6
		iifname @tunnels ip6 daddr . meta l4proto . th dport vmap @timeout_ranges6
		iifname @tunnels meta l4proto tcp ct timeout set "tcp-half-open"
	}
)");
}

}  // namespace
}  // namespace edged::agent
