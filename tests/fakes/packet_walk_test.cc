#include "tests/fakes/packet_walk.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

const std::vector<HookPoint> kForwarded = {
    HookPoint::kPrerouting, HookPoint::kForward, HookPoint::kPostrouting};
const std::vector<HookPoint> kToHost = {HookPoint::kPrerouting,
                                        HookPoint::kInput};

// From a client on the internet to a port of the edge.
Packet ToEdge(uint8_t protocol, uint16_t port) {
  Packet packet;
  packet.iif = "eth0";
  packet.oif = "edged0";
  packet.source = Address("198.51.100.9");
  packet.destination = Address("203.0.113.1");
  packet.protocol = protocol;
  packet.source_port = 40000;
  packet.destination_port = port;
  return packet;
}

Packet FromTunnel(std::string_view source, std::string_view destination) {
  Packet packet = ToEdge(6, 40000);
  packet.iif = "edged0";
  packet.oif = "eth0";
  packet.source = Address(source);
  packet.destination = Address(destination);
  packet.source_port = 80;
  return packet;
}

Table OneChain(Hook hook, std::vector<Rule> rules) {
  return {"t", {}, {{"chain", hook, std::move(rules)}}};
}

const Hook kForwardHook{ChainType::kFilter, HookPoint::kForward, 0};
const Verdict kAccept{VerdictKind::kAccept};
const Verdict kDrop{VerdictKind::kDrop};

std::string Forward(const Table& table, const Packet& packet) {
  return WalkHook(table, HookPoint::kForward, packet).ToString();
}

}  // namespace

TEST_CASE("packet_walk: a mapped port goes to the slot's uplink",
          "[packet_walk]") {
  const Table edge = EdgeTable();
  CHECK(WalkHooks(edge, kForwarded, ToEdge(6, 80), 1) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.17, accept; "
        "forward: clamp mss, accept; postrouting: accept");
  CHECK(WalkHooks(edge, kForwarded, ToEdge(17, 7000), 3) ==
        "prerouting: ct mark 0xed000100, dnat to 10.200.0.33, accept; "
        "forward: accept; postrouting: accept");
}

TEST_CASE("packet_walk: a range holds its first and last port only",
          "[packet_walk]") {
  const Table edge = EdgeTable();
  const auto end = [&edge](uint8_t protocol, uint16_t port) {
    return WalkHook(edge, HookPoint::kPrerouting, ToEdge(protocol, port), 1)
        .ToString();
  };
  const std::string mapped = "ct mark 0xed000100, dnat to 10.200.0.17, accept";
  CHECK(end(6, 99) == "accept");
  CHECK(end(6, 100) == mapped);
  CHECK(end(6, 199) == mapped);
  CHECK(end(6, 200) == "accept");
  CHECK(end(17, 10000) == mapped);
  CHECK(end(6, 10000) == "accept");
}

TEST_CASE("packet_walk: reserved ports and pings are left alone",
          "[packet_walk]") {
  Table edge = EdgeTable();
  edge.sets[0].elements.push_back(
      {Listener("203.0.113.1", Protocol::kTcp, 22), {}, MarkBytes(0xed000100)});
  CHECK(WalkHook(edge, HookPoint::kPrerouting, ToEdge(6, 22)).ToString() ==
        "accept");
  CHECK(WalkHook(edge, HookPoint::kPrerouting, ToEdge(1, 80)).ToString() ==
        "accept");
}

TEST_CASE("packet_walk: a connection is translated once", "[packet_walk]") {
  Packet packet = ToEdge(6, 80);
  packet.ct_state = kCtEstablished;
  packet.ct_status = kCtStatusDnat;
  CHECK(WalkHooks(EdgeTable(), kForwarded, packet) ==
        "prerouting: accept; forward: clamp mss, accept; postrouting: accept");
}

TEST_CASE("packet_walk: the tunnel is guarded both ways", "[packet_walk]") {
  const Table edge = EdgeTable();
  CHECK(Forward(edge, ToEdge(6, 9999)) == "clamp mss, drop");
  Packet syn = FromTunnel("10.200.0.17", "198.51.100.9");
  CHECK(Forward(edge, syn) == "clamp mss, drop");
  Packet middle = syn;
  middle.tcp_flags = 16;
  CHECK(WalkHooks(edge, kForwarded, middle) ==
        "prerouting: accept; forward: accept; postrouting: snat to "
        "203.0.113.1, ct mark 0xed000100, accept");
  middle.source_port = 9999;
  CHECK(WalkHooks(edge, kForwarded, middle) ==
        "prerouting: accept; forward: accept; postrouting: snat to "
        "203.0.113.1, drop");
}

TEST_CASE("packet_walk: the edge's own address answers in the tunnel only",
          "[packet_walk]") {
  const Table edge = EdgeTable();
  Packet heartbeat = FromTunnel("10.200.0.16", "10.200.0.1");
  heartbeat.oif = "";
  heartbeat.destination_port = 7443;
  CHECK(WalkHooks(edge, kToHost, heartbeat) ==
        "prerouting: accept; input: accept");
  heartbeat.source = Address("10.200.0.32");
  CHECK(WalkHooks(edge, kToHost, heartbeat) ==
        "prerouting: accept; input: drop");
  Packet neighbour = ToEdge(6, 7443);
  neighbour.oif = "";
  neighbour.destination = Address("10.200.0.1");
  CHECK(WalkHooks(edge, kToHost, neighbour) ==
        "prerouting: accept; input: drop");
  neighbour.destination = Address("203.0.113.1");
  CHECK(WalkHooks(edge, kToHost, neighbour) ==
        "prerouting: accept; input: accept");
}

TEST_CASE("packet_walk: the uplink marks, translates and rejects",
          "[packet_walk]") {
  const Table uplink = UplinkTable();
  Packet packet;
  packet.iif = "eu-2";
  packet.oif = "eth0";
  packet.source = Address("198.51.100.9");
  packet.destination = Address("10.200.4.17");
  packet.source_port = 40000;
  packet.destination_port = 80;
  packet.ct_mark = 0xab00;
  CHECK(WalkHooks(uplink, kForwarded, packet) ==
        "prerouting: ct mark 0x0000ab02, dnat to 10.244.1.5:8080, accept; "
        "forward: accept; postrouting: masquerade, accept");
  packet.destination_port = 81;
  CHECK(WalkHooks(uplink, kForwarded, packet) ==
        "prerouting: ct mark 0x0000ab02, accept; "
        "forward: reject with tcp reset");
  packet.protocol = 1;
  CHECK(WalkHooks(uplink, kForwarded, packet) ==
        "prerouting: ct mark 0x0000ab02, accept; forward: reject");

  Packet reply;
  reply.iif = "eth0";
  reply.oif = "eu-2";
  reply.source = Address("10.244.1.5");
  reply.destination = Address("198.51.100.9");
  reply.ct_state = kCtEstablished;
  reply.ct_mark = 0xab02;
  reply.mark = 0x100;
  CHECK(WalkHooks(uplink, kForwarded, reply) ==
        "prerouting: mark 0x00000102, accept; forward: accept; "
        "postrouting: accept");
  reply.ct_mark = 0;
  CHECK(Forward(uplink, reply) == "drop");
  Packet own = reply;
  own.iif = "";
  own.ct_mark = 1;
  CHECK(WalkHook(uplink, HookPoint::kOutput, own).ToString() ==
        "mark 0x00000101, accept");
}

TEST_CASE("packet_walk: chains return, jump and go to as the kernel does",
          "[packet_walk]") {
  const auto end = [](std::vector<Rule> first, std::vector<Rule> inner) {
    Table table{"t", {}, {}};
    table.chains = {{"inner", {}, std::move(inner)},
                    {"base", kForwardHook, std::move(first)}};
    return Forward(table, ToEdge(6, 1));
  };
  const Rule jump{{Verdict{VerdictKind::kJump, "inner"}}};
  const Rule go{{Verdict{VerdictKind::kGoto, "inner"}}};
  const Rule back{{Verdict{VerdictKind::kReturn}}};
  const Rule drop{{kDrop}}, accept{{kAccept}}, count{{Counter{}}};
  CHECK(end({jump, drop}, {count}) == "drop");
  CHECK(end({jump, drop}, {back, accept}) == "drop");
  CHECK(end({jump, drop}, {accept}) == "accept");
  CHECK(end({go, drop}, {count}) == "accept");
  CHECK(end({back, drop}, {}) == "accept");
  CHECK(end({{{Verdict{VerdictKind::kJump, "nowhere"}}}}, {}) ==
        "no chain nowhere");
}

TEST_CASE("packet_walk: an accept ends its own chain, a drop everything",
          "[packet_walk]") {
  Table table{"t", {}, {}};
  table.chains = {{"late", kForwardHook, {{{kDrop}}}},
                  {"early",
                   Hook{ChainType::kFilter, HookPoint::kForward, -10},
                   {{{kAccept}}}}};
  CHECK(Forward(table, ToEdge(6, 1)) == "drop");
  table.chains[0].rules = {{{SetMark{1}}}};
  table.chains[1].rules = {{{kDrop}}};
  CHECK(Forward(table, ToEdge(6, 1)) == "drop");
}

TEST_CASE("packet_walk: a field that is not there matches nothing",
          "[packet_walk]") {
  Packet packet = ToEdge(17, 53);
  const auto drops = [&packet](const Statement& statement) {
    return Forward(OneChain(kForwardHook, {{{statement, kDrop}}}), packet) ==
           "drop";
  };
  const Match not_v6{Field::kIp6Saddr, Bytes(16), true};
  const Match not_syn{Field::kTcpFlags, {kTcpSyn}, true};
  CHECK_FALSE(drops(not_v6));
  CHECK_FALSE(drops(not_syn));
  CHECK_FALSE(drops(MatchAnyOf{Field::kIcmpType, {{8}, {0}}, true}));
  packet.protocol = 6;
  CHECK_FALSE(drops(not_syn));
  packet.tcp_flags = 16;
  CHECK(drops(not_syn));
  packet.source = Address("fd00::1");
  packet.destination = Address("fd00::2");
  CHECK(drops(not_v6));
  CHECK_FALSE(drops(Match{Field::kIpSaddr, Bytes(4), true}));
}

TEST_CASE("packet_walk: masks and bits select", "[packet_walk]") {
  Packet packet = ToEdge(6, 1);
  packet.ct_mark = 0x1203;
  packet.tcp_flags = kTcpSyn | 16;
  const auto drops = [&packet](const Match& match) {
    return Forward(OneChain(kForwardHook, {{{match, kDrop}}}), packet) ==
           "drop";
  };
  CHECK(drops({Field::kCtMark, MarkBytes(3), false, MarkBytes(0xff)}));
  CHECK_FALSE(drops({Field::kCtMark, MarkBytes(3)}));
  CHECK(drops({Field::kTcpFlags, {kTcpSyn | 1}}));
  CHECK_FALSE(drops({Field::kTcpFlags, {kTcpSyn}, false, Bytes{18}}));
  CHECK(
      drops({Field::kIpSaddr, {198, 51, 0, 0}, false, Bytes{255, 255, 0, 0}}));
}

TEST_CASE("packet_walk: says which set is missing", "[packet_walk]") {
  CHECK(Forward(OneChain(kForwardHook,
                         {{{MatchSet{{Field::kIpSaddr}, "friends"}, kDrop}}}),
                ToEdge(6, 1)) == "no set friends");
}

}  // namespace edged::nftables
