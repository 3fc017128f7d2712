#include "edged/core/nft_ways.h"

#include <catch2/catch.hpp>

#include "common/nftables/print.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_names.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/packet_walk.h"

namespace edged::edge {
namespace {

using nftables::HookPoint;
using nftables::Packet;
using nftables::WalkHook;

constexpr char kChains[] = R"(table inet edged {
	chain arrival {
		type filter hook prerouting priority dstnat + 10; policy accept;
		ct mark != 0xed000000/8 accept
		ct direction reply accept
		iifname "edged0" accept
		iifname "eth1" ct mark set ct mark & 0xffffff01 | 0x00000001 accept
		ct mark set ct mark & 0xffffff00
	}

	chain answer {
		type filter hook prerouting priority mangle; policy accept;
		iifname != "edged0" accept
		ct direction reply ct mark & 0xff0000ff == 0xed000001 meta mark set meta mark & 0xedffff01 | 0xed000001
		ct direction != reply ip saddr & 0.0.0.15 == 0.0.0.2 meta mark set meta mark & 0xedffff01 | 0xed000001
	}

	chain own-answer {
		type route hook output priority mangle; policy accept;
		ct direction reply ct mark & 0xff0000ff == 0xed000001 meta mark set meta mark & 0xedffff01 | 0xed000001
		ct direction reply ct mark & 0xff0000ff == 0xed000000 ip saddr 203.0.113.2 oifname { "eth0", "eth1" } meta mark set meta mark & 0xedffff01 | 0xed000001
	}
}
)";

nftables::Table TableOf(const HostFacts& facts) {
  protocol::EdgeState state = SampleState();
  state.mappings = {{Tcp(80), "g1"}};
  const EdgeModel model = ModelOf(state);
  return CompileTable(model, *GroupMarks::TakeOver({}, model), facts);
}

Packet FromUplink(std::string_view source) {
  return {.iif = "edged0",
          .source = Ip(source),
          .destination = Ip("198.51.100.9"),
          .source_port = 80,
          .destination_port = 40000};
}

// 203.0.113.2 is on eth1, which is way 1, and 203.0.113.1 where the default
// route leaves.
nftables::Table TwoWays() {
  HostFacts facts = SampleFacts();
  facts.arrivals.ways = {{.interface = "eth1",
                          .link = 3,
                          .number = 1,
                          .addresses = {{Ip("203.0.113.2"), 2}}}};
  facts.arrivals.exits = {"eth1", "eth0"};
  return TableOf(facts);
}

TEST_CASE("nft_ways: three chains, and without a way none", "[nft_ways]") {
  nftables::Table more = TwoWays();
  for (const nftables::Chain& chain : TableOf(SampleFacts()).chains) {
    CHECK(std::erase(more.chains, chain) == 1);
  }
  CHECK(nftables::Print({.name = kTable, .chains = more.chains}) == kChains);
}

TEST_CASE("nft_ways: a connection notes which interface it came in by",
          "[nft_ways]") {
  const auto table = TwoWays();
  const auto mark_of = [&table](std::string_view interface, uint16_t port) {
    const Packet packet{.iif = std::string(interface),
                        .source = Ip("198.51.100.9"),
                        .destination = Ip("203.0.113.1"),
                        .source_port = 40000,
                        .destination_port = port};
    return WalkHook(table, HookPoint::kPrerouting, packet).packet.ct_mark;
  };
  CHECK(mark_of("eth0", 80) == 0xed000100);
  CHECK(mark_of("eth1", 80) == 0xed000101);
  CHECK(mark_of("eth1", 4444) == 0);  // not ours
}

TEST_CASE("nft_ways: a connection follows its client to another interface",
          "[nft_ways]") {
  const auto table = TwoWays();
  Packet packet{.iif = "eth0",
                .source = Ip("198.51.100.9"),
                .destination = Ip("203.0.113.2"),
                .source_port = 40000,
                .destination_port = 80,
                .ct_state = nftables::kCtEstablished,
                .ct_mark = 0xed000101};
  const auto mark_of = [&table](const Packet& packet) {
    return WalkHook(table, HookPoint::kPrerouting, packet).packet.ct_mark;
  };
  CHECK(mark_of(packet) == 0xed000100);
  packet.iif = "eth1";
  packet.ct_mark = 0xed000105;
  CHECK(mark_of(packet) == 0xed000101);
  // Its answers say nothing, by whatever interface; nor do others' packets.
  packet.ct_direction = nftables::kCtReply;
  CHECK(mark_of(packet) == 0xed000105);
  packet.ct_direction = nftables::kCtOriginal;
  packet.iif = "edged0";
  CHECK(mark_of(packet) == 0xed000105);
  packet.iif = "eth1";
  packet.ct_mark = 0x00000102;
  CHECK(mark_of(packet) == 0x00000102);
}

TEST_CASE("nft_ways: answers are marked for the way of their connection",
          "[nft_ways]") {
  const auto table = TwoWays();
  Packet answer = FromUplink("10.200.0.17");
  answer.ct_state = nftables::kCtEstablished;
  answer.ct_direction = nftables::kCtReply;
  const auto marked = [&](const Packet& packet) {
    return WalkHook(table, HookPoint::kPrerouting, packet).packet.mark;
  };
  answer.ct_mark = 0xed000101;
  answer.mark = 0x00004000;  // somebody else's bits stay
  CHECK(marked(answer) == 0xed004001);
  answer.ct_mark = 0xed000100;
  CHECK(marked(answer) == 0x00004000);
  // Of the connections of others nothing is marked, nor what goes in.
  answer.ct_mark = 0x00000001;
  CHECK(marked(answer) == 0x00004000);
  answer.ct_mark = 0xed000101;
  answer.ct_direction = nftables::kCtOriginal;
  answer.iif = "eth1";
  CHECK(marked(answer) == 0x00004000);
}

TEST_CASE("nft_ways: the way back of a lost connection is its address's",
          "[nft_ways]") {
  const auto table = TwoWays();
  const auto marked = [&table](std::string_view mapping) {
    Packet packet = FromUplink(mapping);
    packet.tcp_flags = 16;
    return WalkHook(table, HookPoint::kPrerouting, packet).packet.mark;
  };
  CHECK(marked("10.200.0.18") == 0xed000001);  // of any uplink
  CHECK(marked("10.200.0.50") == 0xed000001);
  CHECK(marked("10.200.0.17") == 0);
}

TEST_CASE("nft_ways: what the edge refuses itself goes by its way",
          "[nft_ways]") {
  const auto table = TwoWays();
  Packet refusal{.oif = "eth0",
                 .source = Ip("203.0.113.2"),
                 .destination = Ip("198.51.100.9"),
                 .source_port = 80,
                 .destination_port = 40000,
                 .ct_direction = nftables::kCtReply,
                 .ct_mark = 0xed000200};
  const auto marked = [&](const Packet& packet) {
    return WalkHook(table, HookPoint::kOutput, packet).packet.mark;
  };
  CHECK(marked(refusal) == 0xed000001);
  refusal.oif = "docker0";  // to a client on this host
  CHECK(marked(refusal) == 0);
  refusal.oif = "eth0";
  refusal.source = Ip("203.0.113.1");
  CHECK(marked(refusal) == 0);
  refusal.ct_mark = 0xed000101;  // an ICMP error about what came in by eth1
  CHECK(marked(refusal) == 0xed000001);
  refusal.ct_mark = 0;  // this host's own services are left alone
  refusal.source = Ip("203.0.113.2");
  CHECK(marked(refusal) == 0);
}

}  // namespace
}  // namespace edged::edge
