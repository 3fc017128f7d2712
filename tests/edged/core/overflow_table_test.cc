#include "edged/core/overflow_table.h"

#include <catch2/catch.hpp>

#include "common/nftables/print.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/packet_walk.h"

namespace edged::edge {
namespace {

using nftables::HookPoint;
using nftables::Packet;

constexpr uint8_t kUdp = 17;

SocketAddress End(const char* text) {
  return SocketAddress::Parse(text).value();
}

const std::set<IpAddress> kOwn{Ip("203.0.113.1"), Ip("2001:db8::1")};

const TrackedEnds kTracked{
    .outer = {End("192.0.2.2:40001"), End("[2001:db8::9]:40002")},
    .callers = {{Protocol::kTcp, End("10.200.0.16:5001")},
                {Protocol::kUdp, End("10.200.0.16:5002")},
                {Protocol::kUdp, End("10.200.0.32:5003")}}};

TEST_CASE("overflow_table: the table is what nft lists", "[overflow_table]") {
  CHECK(nftables::Print(OverflowTable(SampleFacts(), kOwn, kTracked)) ==
        R"(table inet edged-overflow {
	set outer4 {
		type ipv4_addr . inet_service
		elements = { 192.0.2.2 . 40001 }
	}

	set outer6 {
		type ipv6_addr . inet_service
		elements = { 2001:db8::9 . 40002 }
	}

	set callers {
		type inet_proto . ipv4_addr . inet_service
		elements = { tcp . 10.200.0.16 . 5001,
			     udp . 10.200.0.16 . 5002,
			     udp . 10.200.0.32 . 5003 }
	}

	set own4 {
		type ipv4_addr
		elements = { 203.0.113.1 }
	}

	set own6 {
		type ipv6_addr
		elements = { 2001:db8::1 }
	}

	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		udp dport 51820 iifname != "edged0" ip daddr @own4 ip saddr . udp sport != @outer4 notrack
		udp dport 51820 iifname != "edged0" ip6 daddr @own6 ip6 saddr . udp sport != @outer6 notrack
		iifname "edged0" ip daddr 10.200.0.1 meta l4proto { tcp, udp } th dport 7443 meta l4proto . ip saddr . th sport != @callers notrack
	}

	chain output {
		type filter hook output priority raw; policy accept;
		udp sport 51820 oifname != "edged0" ip saddr @own4 ip daddr . udp dport != @outer4 notrack
		udp sport 51820 oifname != "edged0" ip6 saddr @own6 ip6 daddr . udp dport != @outer6 notrack
		oifname "edged0" ip saddr 10.200.0.1 meta l4proto { tcp, udp } th sport 7443 meta l4proto . ip daddr . th dport != @callers notrack
	}
}
)");
}

TEST_CASE("overflow_table: what has no entry goes without one, both ways",
          "[overflow_table]") {
  const nftables::Table table = OverflowTable(SampleFacts(), kOwn, kTracked);
  const auto both = [&table](const char* uplink, const char* edge,
                             const char* device, uint8_t protocol = kUdp) {
    const SocketAddress theirs = End(uplink), ours = End(edge);
    const Packet in{.iif = device,
                    .source = theirs.address,
                    .destination = ours.address,
                    .protocol = protocol,
                    .source_port = theirs.port,
                    .destination_port = ours.port};
    const Packet out{.oif = device,
                     .source = ours.address,
                     .destination = theirs.address,
                     .protocol = protocol,
                     .source_port = ours.port,
                     .destination_port = theirs.port};
    return WalkHooks(table, {HookPoint::kPrerouting}, in) + "; " +
           WalkHooks(table, {HookPoint::kOutput}, out);
  };
  const std::string tracked = "prerouting: accept; output: accept";
  const std::string untracked =
      "prerouting: notrack, accept; output: notrack, accept";
  CHECK(both("192.0.2.2:40001", "203.0.113.1:51820", "eth0") == tracked);
  CHECK(both("192.0.2.2:40003", "203.0.113.1:51820", "eth0") == untracked);
  CHECK(both("[2001:db8::9]:40002", "[2001:db8::1]:51820", "eth0") == tracked);
  CHECK(both("[2001:db8::8]:40002", "[2001:db8::1]:51820", "eth0") ==
        untracked);
  CHECK(both("10.200.0.16:5001", "10.200.0.1:7443", "edged0", 6) == tracked);
  CHECK(both("10.200.0.16:5002", "10.200.0.1:7443", "edged0", 6) == untracked);
  CHECK(both("10.200.0.16:5002", "10.200.0.1:7443", "edged0") == tracked);
  CHECK(both("10.200.0.48:5002", "10.200.0.1:7443", "edged0") == untracked);

  // Others' packets, and those to others' tunnels.
  CHECK(both("192.0.2.7:40003", "198.51.100.9:51820", "eth0") == tracked);
  CHECK(both("192.0.2.7:53", "203.0.113.1:53", "eth0") == tracked);
  CHECK(both("192.0.2.7:53", "203.0.113.1:51820", "eth0", 6) == tracked);
  CHECK(both("192.0.2.7:53", "10.200.0.1:7443", "eth0") == tracked);
  CHECK(both("10.200.0.16:5002", "10.200.0.1:22", "edged0", 6) == tracked);
}

TEST_CASE("overflow_table: who is not heard any more has no entry for long",
          "[overflow_table]") {
  const HeardUplink home{Ip("10.200.0.16"), End("192.0.2.2:40001")};
  const HeardUplink moved{Ip("10.200.0.16"), End("192.0.2.3:40001")};
  const HeardUplink second{Ip("10.200.0.32"), End("[2001:db8::9]:40002")};
  CHECK(StillTracked(kTracked, {home, second}) == kTracked);
  const TrackedEnds left = StillTracked(kTracked, {moved});
  CHECK(left.outer.empty());
  CHECK(left.callers.size() == 2);
  CHECK(StillTracked(left, {home, second}).outer.empty());
  CHECK(StillTracked(kTracked, {}) == TrackedEnds());
}

}  // namespace
}  // namespace edged::edge
