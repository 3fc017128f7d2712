#include "edged/core/nft_compiler.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "common/nftables/print.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/packet_walk.h"

namespace edged::edge {
namespace {

using nftables::HookPoint;
using nftables::Packet;

// TCP 80 and UDP 53 and 5000-5999 of the first address; TCP 80 of the second,
// which arrives at 10.0.0.7.
protocol::EdgeState FullState() {
  protocol::EdgeState state = SampleState();
  state.mappings = {{Tcp(80), "g1"},
                    {Udp(53), "g1"},
                    {Udp(5000, 5999), "g1"},
                    {At("203.0.113.2", Protocol::kTcp, 80), "g2"}};
  return state;
}

nftables::Table TableOf(const protocol::EdgeState& state,
                        const HostFacts& facts = SampleFacts()) {
  const EdgeModel model = ModelOf(state);
  const auto marks = GroupMarks::TakeOver({}, model);
  return CompileTable(model, *marks, facts);
}

std::string Golden(const std::string& name) {
  std::ifstream file(std::string(TEST_SOURCE_DIR) + "/golden/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A new connection from a client on the internet side.
Packet FromClient(std::string_view to, uint16_t port, uint8_t protocol = 6) {
  return {.iif = "eth0",
          .oif = "edged0",
          .source = Ip("198.51.100.9"),
          .destination = Ip(to),
          .protocol = protocol,
          .source_port = 40000,
          .destination_port = port};
}

// From an uplink out to a client.
Packet FromUplink(std::string_view source, uint16_t port, uint8_t protocol) {
  return {.iif = "edged0",
          .oif = "eth0",
          .source = Ip(source),
          .destination = Ip("198.51.100.9"),
          .protocol = protocol,
          .source_port = port,
          .destination_port = 40000};
}

std::string In(const nftables::Table& table, const Packet& packet,
               uint32_t hash = 0) {
  return WalkHooks(table, {HookPoint::kPrerouting, HookPoint::kForward}, packet,
                   hash);
}

std::string Out(const nftables::Table& table, const Packet& packet) {
  return WalkHooks(table, {HookPoint::kForward, HookPoint::kPostrouting},
                   packet);
}

TEST_CASE("nft_compiler: the whole table reads like this", "[nft_compiler]") {
  HostFacts facts = SampleFacts();
  facts.health["b"] = Health::kDraining;
  facts.forwarding_everywhere = false;
  facts.switched_interfaces = {"eth0"};
  protocol::EdgeState state = FullState();
  state.groups.push_back({.name = "lonely",
                          .public_address = Ip("203.0.113.1"),
                          .uplinks = {"b"}});
  state.groups.push_back({.name = "single",
                          .public_address = Ip("203.0.113.1"),
                          .uplinks = {"b", "c"}});
  CHECK(nftables::Print(TableOf(state, facts)) == Golden("table.nft"));
}

TEST_CASE("nft_compiler: an empty edge has a table that refuses nobody",
          "[nft_compiler]") {
  const auto table = TableOf({});
  CHECK(WalkHook(table, HookPoint::kPrerouting, FromClient("203.0.113.1", 80))
            .ToString() == "accept");
}

TEST_CASE("nft_compiler: a client reaches an uplink by hash",
          "[nft_compiler]") {
  const auto table = TableOf(FullState());
  CHECK(In(table, FromClient("203.0.113.1", 80), 0) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.49, accept;"
        " forward: clamp mss, accept");
  CHECK(In(table, FromClient("203.0.113.1", 80), 5) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.17, accept;"
        " forward: clamp mss, accept");
  CHECK(In(table, FromClient("203.0.113.1", 5500, 17), 0) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.49, accept;"
        " forward: accept");
  // The second address arrives at the interface's own.
  CHECK(In(table, FromClient("10.0.0.7", 80), 0) ==
        "prerouting: ct mark 0xed000200, dnat to 10.200.0.50, accept;"
        " forward: clamp mss, accept");
}

TEST_CASE("nft_compiler: what is not mapped is not translated",
          "[nft_compiler]") {
  const auto table = TableOf(FullState());
  const auto prerouting = [&](const Packet& packet) {
    return WalkHook(table, HookPoint::kPrerouting, packet).ToString();
  };
  CHECK(prerouting(FromClient("203.0.113.1", 81)) == "accept");
  CHECK(prerouting(FromClient("203.0.113.1", 80, 17)) == "accept");
  CHECK(prerouting(FromClient("203.0.113.2", 80)) == "accept");
  CHECK(prerouting(FromClient("203.0.113.1", 22)) == "accept");
  CHECK(prerouting(FromClient("203.0.113.1", 51820, 17)) == "accept");
  CHECK(prerouting(FromClient("203.0.113.1", 6000, 17)) == "accept");
}

TEST_CASE("nft_compiler: ssh and the tunnel stay even under a wrong mapping",
          "[nft_compiler]") {
  auto table = TableOf(FullState());
  for (auto& set : table.sets) {
    if (set.set.name != std::string("ranges4")) continue;
    set.elements = {
        {.key = nftables::Concat({nftables::ToBytes(Ip("203.0.113.1")),
                                  nftables::ToBytes(Protocol::kTcp),
                                  nftables::PortBytes(1)}),
         .key_end = nftables::Concat({nftables::ToBytes(Ip("203.0.113.1")),
                                      nftables::ToBytes(Protocol::kTcp),
                                      nftables::PortBytes(65535)}),
         .data = nftables::MarkBytes(0xed000100)}};
  }
  const auto prerouting = [&](uint16_t port) {
    return WalkHook(table, HookPoint::kPrerouting,
                    FromClient("203.0.113.1", port))
        .ToString();
  };
  CHECK(prerouting(22) == "accept");
  CHECK(prerouting(23) == "ct mark 0xed000100, dnat to 10.200.0.49, accept");
}

TEST_CASE("nft_compiler: connections made on the edge itself go the same way",
          "[nft_compiler]") {
  Packet packet = FromClient("203.0.113.1", 80);
  packet.iif.clear();
  packet.source = Ip("203.0.113.1");
  CHECK(WalkHook(TableOf(FullState()), HookPoint::kOutput, packet).ToString() ==
        "ct mark 0xed000100, dnat to 10.200.0.49, accept");
}

TEST_CASE("nft_compiler: nobody serving refuses at once", "[nft_compiler]") {
  HostFacts facts = SampleFacts();
  facts.health = {{"a", Health::kDead}, {"b", Health::kDraining}};
  const auto table = TableOf(FullState(), facts);
  CHECK(In(table, FromClient("203.0.113.1", 80)) ==
        "prerouting: ct mark 0xed000100, reject with tcp reset");
  CHECK(In(table, FromClient("203.0.113.1", 53, 17)) ==
        "prerouting: ct mark 0xed000100, reject");
  // The last one that is only silent is still tried.
  facts.health["a"] = Health::kSuspect;
  CHECK(In(TableOf(FullState(), facts), FromClient("203.0.113.1", 80)) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.17, accept;"
        " forward: clamp mss, accept");
}

TEST_CASE("nft_compiler: to the tunnel only what was translated by us",
          "[nft_compiler]") {
  const auto table = TableOf(FullState());
  CHECK(In(table, FromClient("10.200.0.17", 80)) ==
        "prerouting: accept;"
        " forward: clamp mss, drop");
  Packet foreign = FromClient("10.200.0.17", 80);
  foreign.ct_status = nftables::kCtStatusDnat;  // docker's, say
  CHECK(WalkHook(table, HookPoint::kForward, foreign).ToString() ==
        "clamp mss, drop");
  Packet answer = FromClient("10.200.0.17", 80);
  answer.ct_state = nftables::kCtEstablished;
  answer.tcp_flags = 16;
  CHECK(WalkHook(table, HookPoint::kForward, answer).ToString() == "accept");
}

TEST_CASE("nft_compiler: uplinks reach neither the internet nor each other",
          "[nft_compiler]") {
  const auto table = TableOf(FullState());
  CHECK(Out(table, FromUplink("10.200.0.17", 80, 6)) ==
        "forward: clamp mss, drop");  // a SYN
  CHECK(Out(table, FromUplink("10.200.0.16", 5000, 17)) ==
        "forward: accept;"
        " postrouting: drop");
  CHECK(Out(table, FromUplink("10.200.0.17", 54, 17)) ==
        "forward: accept;"
        " postrouting: snat to 203.0.113.1, drop");
  Packet other = FromUplink("10.200.0.17", 53, 17);
  other.destination = Ip("10.200.0.33");
  other.oif = "edged0";
  CHECK(WalkHook(table, HookPoint::kForward, other).ToString() == "drop");
  Packet reply = FromUplink("10.200.0.17", 80, 6);
  reply.ct_state = nftables::kCtEstablished;
  reply.tcp_flags = 16;
  CHECK(Out(table, reply) ==
        "forward: accept;"
        " postrouting: accept");
}

TEST_CASE("nft_compiler: flows whose state was lost come back as they were",
          "[nft_compiler]") {
  const auto table = TableOf(FullState());
  Packet midstream = FromUplink("10.200.0.17", 80, 6);
  midstream.tcp_flags = 16;
  CHECK(Out(table, midstream) ==
        "forward: accept;"
        " postrouting: snat to 203.0.113.1, ct mark 0xed000100, accept");
  CHECK(Out(table, FromUplink("10.200.0.33", 5500, 17)) ==
        "forward: accept;"
        " postrouting: snat to 203.0.113.1, ct mark 0xed000100, accept");
  midstream.source_port = 81;
  CHECK(Out(table, midstream) ==
        "forward: accept;"
        " postrouting: snat to 203.0.113.1, drop");
  // Index 2 leaves with the second address's own.
  midstream = FromUplink("10.200.0.18", 80, 6);
  midstream.tcp_flags = 16;
  CHECK(Out(table, midstream) ==
        "forward: accept;"
        " postrouting: snat to 10.0.0.7, ct mark 0xed000200, accept");
}

TEST_CASE("nft_compiler: WireGuard in the kernel may shake hands",
          "[nft_compiler]") {
  // Its packets come to postrouting from its device, in new connections.
  const Packet handshake{.iif = "edged0",
                         .oif = "eth0",
                         .source = Ip("203.0.113.1"),
                         .destination = Ip("198.51.100.7"),
                         .protocol = 17,
                         .source_port = 51820,
                         .destination_port = 40000};
  CHECK(WalkHook(TableOf(FullState()), HookPoint::kPostrouting, handshake)
            .ToString() == "accept");
}

TEST_CASE("nft_compiler: the tunnel reaches the API, heartbeats and ping alone",
          "[nft_compiler]") {
  const auto table = TableOf(FullState());
  const auto input = [&](std::string_view iif, std::string_view source,
                         std::string_view destination, uint8_t protocol,
                         uint16_t port) {
    return WalkHook(table, HookPoint::kInput,
                    {.iif = std::string(iif),
                     .source = Ip(source),
                     .destination = Ip(destination),
                     .protocol = protocol,
                     .source_port = 40000,
                     .destination_port = port})
        .ToString();
  };
  constexpr char kEdge[] = "10.200.0.1";
  CHECK(input("edged0", "10.200.0.16", kEdge, 6, 7443) == "accept");
  CHECK(input("edged0", "10.200.0.16", kEdge, 17, 7443) == "accept");
  CHECK(input("edged0", "10.200.0.2", kEdge, 6, 7443) == "accept");
  CHECK(input("edged0", "10.200.0.17", kEdge, 6, 7443) == "drop");
  CHECK(input("edged0", "10.200.0.64", kEdge, 6, 7443) == "drop");
  CHECK(input("edged0", "10.200.0.16", kEdge, 6, 22) == "drop");
  CHECK(input("edged0", "10.200.0.16", "203.0.113.1", 6, 7443) == "drop");
  CHECK(input("edged0", "10.200.0.16", kEdge, 1, 0) == "accept");
  CHECK(input("edged0", "10.200.0.16", "203.0.113.1", 1, 0) == "drop");
  CHECK(input("eth0", "203.0.113.77", kEdge, 6, 7443) == "drop");
  // Whoever has a shell on the edge is no uplink.
  CHECK(input("lo", kEdge, kEdge, 6, 7443) == "drop");
  CHECK(input("eth0", "203.0.113.77", "203.0.113.1", 6, 22) == "accept");
}

TEST_CASE("nft_compiler: the host becomes no router where we made it forward",
          "[nft_compiler]") {
  HostFacts facts = SampleFacts();
  Packet through = FromClient("192.0.2.9", 80);
  through.oif = "eth1";
  CHECK(In(TableOf(FullState(), facts), through) ==
        "prerouting: accept; forward: accept");
  facts.forwarding_everywhere = false;
  facts.switched_interfaces = {"eth0"};
  const auto table = TableOf(FullState(), facts);
  CHECK(In(table, through) == "prerouting: accept; forward: drop");
  through.iif = "eth2";
  CHECK(In(table, through) == "prerouting: accept; forward: accept");
}

TEST_CASE("nft_compiler: leaves out what does not arrive here and names it",
          "[nft_compiler]") {
  HostFacts facts = SampleFacts();
  const EdgeModel model = ModelOf(FullState());
  CHECK(Unprogrammable(model, facts).empty());
  facts.nic_addresses.erase(Ip("203.0.113.2"));
  CHECK(Unprogrammable(model, facts) ==
        std::vector<protocol::Listener>{At("203.0.113.2", Protocol::kTcp, 80)});
  const auto table = TableOf(FullState(), facts);
  CHECK(In(table, FromClient("10.0.0.7", 80)) ==
        "prerouting: accept; forward: clamp mss, drop");
}

protocol::EdgeState FullDualState() {
  protocol::EdgeState state = DualState();
  state.mappings = {
      {Tcp(80), "g1"}, {Tcp6(80), "g6"}, {Udp6(5000, 5999), "g6"}};
  return state;
}

Packet FromClient6(uint16_t port, uint8_t protocol = 6) {
  Packet packet = FromClient("2001:db8::1", port, protocol);
  packet.source = Ip("2001:db8:9::9");
  return packet;
}

Packet FromUplink6(std::string_view source, uint16_t port, uint8_t protocol) {
  Packet packet = FromUplink(source, port, protocol);
  packet.destination = Ip("2001:db8:9::9");
  return packet;
}

TEST_CASE("nft_compiler: the table of both families reads like this",
          "[nft_compiler]") {
  HostFacts facts = DualFacts();
  facts.ipv6.forwarding_everywhere = false;
  facts.ipv6.switched_interfaces = {"eth0"};
  CHECK(nftables::Print(TableOf(FullDualState(), facts)) ==
        Golden("table6.nft"));
}

TEST_CASE("nft_compiler: an IPv6 client goes the way of an IPv4 one",
          "[nft_compiler]") {
  const auto table = TableOf(FullDualState(), DualFacts());
  CHECK(In(table, FromClient6(80)) ==
        "prerouting: ct mark 0xed000300, dnat to fd00:ed::c00:0:0:1, accept;"
        " forward: clamp mss, accept");
  CHECK(In(table, FromClient6(5500, 17)) ==
        "prerouting: ct mark 0xed000300, dnat to fd00:ed::c00:0:0:1, accept;"
        " forward: accept");
  CHECK(In(table, FromClient6(81)) ==
        "prerouting: accept; forward: clamp mss, drop");
  CHECK(In(table, FromClient("203.0.113.1", 80)) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.49, accept;"
        " forward: clamp mss, accept");
}

TEST_CASE("nft_compiler: nobody is left for IPv6", "[nft_compiler]") {
  HostFacts facts = DualFacts();
  facts.health.clear();
  const auto table = TableOf(FullDualState(), facts);
  CHECK(In(table, FromClient6(80)) ==
        "prerouting: ct mark 0xed000300, reject with tcp reset");
}

TEST_CASE("nft_compiler: the way back of IPv6 flows whose state was lost",
          "[nft_compiler]") {
  const auto table = TableOf(FullDualState(), DualFacts());
  CHECK(Out(table, FromUplink6("fd00:ed::400:0:0:1", 5500, 17)) ==
        "forward: accept; postrouting: snat to 2001:db8::1, ct mark "
        "0xed000300, accept");
  CHECK(Out(table, FromUplink6("fd00:ed::400:0:0:1", 4999, 17)) ==
        "forward: accept; postrouting: snat to 2001:db8::1, drop");
  CHECK(Out(table, FromUplink6("fd00:99::1", 5500, 17)) == "forward: drop");
}

TEST_CASE("nft_compiler: a host that forwards IPv6 because of us is no router",
          "[nft_compiler]") {
  Packet packet = FromClient6(53, 17);
  packet.destination = Ip("2001:db8:77::7");
  packet.oif = "eth1";
  const auto forward = [&](const HostFacts& facts) {
    return WalkHook(TableOf(FullDualState(), facts), HookPoint::kForward,
                    packet)
        .ToString();
  };
  HostFacts facts = DualFacts();
  CHECK(forward(facts) == "accept");  // it was one before
  facts.ipv6.prepared = true;
  CHECK(forward(facts) == "drop");
  HostFacts without = SampleFacts();  // carries no IPv6 itself
  without.ipv6.prepared = true;
  CHECK(forward(without) == "drop");
  facts.ipv6.prepared = false;
  facts.ipv6.switched_interfaces = {"eth0"};
  CHECK(forward(facts) == "drop");
  facts.ipv6.switched_interfaces = {"eth1"};
  CHECK(forward(facts) == "accept");
  // What guards one family leaves the other alone.
  facts = DualFacts();
  facts.switched_interfaces = {"eth0"};
  CHECK(forward(facts) == "accept");
}

TEST_CASE("nft_compiler: without IPv6 on this host its mappings are left out",
          "[nft_compiler]") {
  HostFacts facts = DualFacts();
  facts.ipv6.overlay.reset();
  facts.nic_addresses.erase(Ip("2001:db8::1"));
  const EdgeModel model = ModelOf(FullDualState());
  CHECK(Unprogrammable(model, facts) ==
        std::vector<protocol::Listener>{Tcp6(80), Udp6(5000, 5999)});
  protocol::EdgeState rest = FullDualState();
  rest.mappings.resize(1);
  rest.groups.resize(2);
  const auto marks = *GroupMarks::TakeOver({}, model);
  CHECK(nftables::Print(CompileTable(model, marks, facts)) ==
        nftables::Print(CompileTable(ModelOf(rest), marks, SampleFacts())));
}

// What of a table has to do with clients that groups admit.
std::string AccessOf(const nftables::Table& table) {
  nftables::Table part{.name = table.name};
  for (const auto& set : table.sets) {
    const std::string& name = set.set.name;
    if (name == "clients" || name.starts_with("allow-") ||
        name.starts_with("deny-")) {
      part.sets.push_back(set);
    }
  }
  for (const auto& chain : table.chains) {
    if (chain.name.starts_with("group-") ||
        chain.name.starts_with("clients-") || chain.name == "back-client") {
      part.chains.push_back(chain);
    }
  }
  return nftables::Print(part);
}

// g1 admits a network but for a part of it, g2 everybody but one, g6 a network.
protocol::EdgeState ChoosyState() {
  protocol::EdgeState state = DualState();
  for (protocol::Group& group : state.groups) group.uplinks = {"a"};
  state.groups[0].access = {
      .allow = {Net("198.51.100.0/24"), Net("198.51.100.128/25"),
                Net("198.51.101.0/24"), Net("2001:db8:9::/48")},
      .deny = {Net("198.51.100.64/26")}};
  state.groups[1].access = {.deny = {Net("198.51.100.9/32")}};
  state.groups[2].access = {
      .allow = {Net("0.0.0.0/0"), Net("2001:db8:9::/48")}};
  state.mappings = {{Tcp(80), "g1"},
                    {Udp(53), "g1"},
                    {Udp(5000, 5999), "g1"},
                    {At("203.0.113.2", Protocol::kTcp, 80), "g2"},
                    {Tcp6(80), "g6"}};
  return state;
}

TEST_CASE("nft_compiler: the clients that groups admit read like this",
          "[nft_compiler]") {
  HostFacts facts = DualFacts();
  CHECK(AccessOf(TableOf(ChoosyState(), facts)) == Golden("access.nft"));
  // Others are dropped also where nobody serves.
  facts.health.clear();
  Packet packet = FromClient("203.0.113.1", 80);
  CHECK(In(TableOf(ChoosyState(), facts), packet) ==
        "prerouting: ct mark 0xed000100, reject with tcp reset");
  packet.source = Ip("192.0.2.1");
  CHECK(In(TableOf(ChoosyState(), facts), packet) ==
        "prerouting: ct mark 0xed000100, drop");
}

TEST_CASE("nft_compiler: whom a group does not admit is dropped",
          "[nft_compiler]") {
  const auto table = TableOf(ChoosyState(), DualFacts());
  const auto from = [&table](std::string_view client, std::string_view to,
                             uint16_t port, uint8_t protocol) {
    Packet packet = FromClient(to, port, protocol);
    packet.source = Ip(client);
    return WalkHook(table, HookPoint::kPrerouting, packet).end;
  };
  for (const auto& [port, protocol] :
       {std::pair(80, 6), std::pair(53, 17), std::pair(5500, 17)}) {
    const auto end = [&](std::string_view client) {
      return from(client, "203.0.113.1", port, protocol);
    };
    CHECK(end("198.51.100.9") == "accept");
    CHECK(end("198.51.100.63") == "accept");
    CHECK(end("198.51.100.64") == "drop");
    CHECK(end("198.51.100.127") == "drop");
    CHECK(end("198.51.100.255") == "accept");
    CHECK(end("198.51.101.255") == "accept");
    CHECK(end("198.51.102.0") == "drop");
    CHECK(end("198.51.99.255") == "drop");
  }
  CHECK(from("198.51.100.9", "10.0.0.7", 80, 6) == "drop");
  CHECK(from("198.51.100.10", "10.0.0.7", 80, 6) == "accept");
  CHECK(from("2001:db8:9::1", "2001:db8::1", 80, 6) == "accept");
  CHECK(from("2001:db8:a::1", "2001:db8::1", 80, 6) == "drop");
}

TEST_CASE(
    "nft_compiler: a list without the client's family admits nobody of it",
    "[nft_compiler]") {
  protocol::EdgeState state = SampleState();
  state.groups[0].access.allow = {Net("2001:db8:9::/48")};
  state.mappings = {{Tcp(80), "g1"}};
  CHECK(In(TableOf(state), FromClient("203.0.113.1", 80)) ==
        "prerouting: ct mark 0xed000100, drop");
}

TEST_CASE("nft_compiler: no way back to whom a group does not admit",
          "[nft_compiler]") {
  const auto table = TableOf(ChoosyState(), DualFacts());
  Packet packet = FromUplink("10.200.0.17", 5500, 17);
  CHECK(Out(table, packet) ==
        "forward: accept; postrouting: snat to 203.0.113.1, ct mark "
        "0xed000100, accept");
  packet.destination = Ip("198.51.100.64");
  CHECK(Out(table, packet) ==
        "forward: accept; postrouting: snat to 203.0.113.1, ct mark "
        "0xed000100, drop");
}

// The chain of g1, and the table's timeouts.
std::string Timed(const nftables::Table& table) {
  std::string text;
  for (const auto& timeout : table.timeouts) text += timeout.name + "\n";
  for (const auto& chain : table.chains) {
    if (chain.name == "group-g1") text += nftables::Print(chain);
  }
  return text;
}

TEST_CASE("nft_compiler: a group's connections get its timeouts",
          "[nft_compiler]") {
  protocol::EdgeState state = SampleState();
  state.groups[0].uplinks = {"a"};
  state.groups[0].timeouts = {.tcp_idle = std::chrono::hours(1),
                              .udp_session = std::chrono::seconds(2)};
  HostFacts facts = SampleFacts();
  CHECK(Timed(TableOf(state, facts)) == R"(tcp-3600
udp-2
	chain group-g1 {
		meta l4proto tcp ct timeout set "tcp-3600"
		meta l4proto udp ct timeout set "udp-2"
		dnat ip to 10.200.0.17
	}
)");
  // A kernel without them serves all the same.
  facts.no_timeouts = "this kernel has none";
  CHECK(Timed(TableOf(state, facts)) ==
        "\tchain group-g1 {\n\t\tdnat ip to 10.200.0.17\n\t}\n");
}

}  // namespace
}  // namespace edged::edge
