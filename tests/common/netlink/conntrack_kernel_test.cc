#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "common/netlink/conntrack.h"
#include "common/netlink/rtnetlink.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/common/netlink/own_namespace.h"

namespace edged::netlink {
namespace {

// Conntrack works in a namespace only where a rule asks for it; this one also
// translates port 9000 to 9001 and marks what it translates.
constexpr char kRules[] = R"(
table inet test {
  chain translate {
    type nat hook output priority -110;
    udp dport 9000 ct mark set 0x500 dnat ip to 127.0.0.1:9001
  }
  chain look {
    type filter hook input priority 0;
    ct state new counter
  }
}
)";

bool LoadRules() {
  FILE* nft = ::popen("nft -f -", "w");
  if (nft == nullptr) return false;
  std::fputs(kRules, nft);
  return ::pclose(nft) == 0;
}

// A loopback with conntrack. False, with the reason printed, without.
bool Prepare() {
  auto rtnetlink = Rtnetlink::Open();
  REQUIRE(rtnetlink.ok());
  REQUIRE(rtnetlink->SetLink(1, true, 0).ok());
  if (!LoadRules()) {
    std::printf("SKIPPED: nft could not load a rule that uses conntrack\n");
    return false;
  }
  return true;
}

// Sends one datagram over the loopback, from `from` to `to`.
void SendDatagram(bool ipv6, uint16_t from, uint16_t to) {
  UniqueFd fd(
      ::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 sixth{};
  sixth.sin6_family = AF_INET6;
  sixth.sin6_addr = in6addr_loopback;
  sockaddr_in fourth{};
  fourth.sin_family = AF_INET;
  fourth.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* address = ipv6 ? reinterpret_cast<const sockaddr*>(&sixth)
                             : reinterpret_cast<const sockaddr*>(&fourth);
  const socklen_t size = ipv6 ? sizeof sixth : sizeof fourth;
  sixth.sin6_port = fourth.sin_port = htons(from);
  REQUIRE(::bind(fd.get(), address, size) == 0);
  sixth.sin6_port = fourth.sin_port = htons(to);
  REQUIRE(::sendto(fd.get(), "x", 1, 0, address, size) == 1);
}

std::vector<Flow> List(Conntrack& conntrack, Family family) {
  std::vector<Flow> flows;
  const absl::Status status = conntrack.ForEachFlow(
      family, [&flows](const Flow& flow) { flows.push_back(flow); });
  REQUIRE(status.ok());
  std::ranges::sort(flows, {},
                    [](const Flow& flow) { return flow.original.source_port; });
  return flows;
}

std::string Show(const FlowTuple& tuple) {
  return fmt::format(
      "{} > {}", SocketAddress{tuple.source, tuple.source_port}.ToString(),
      SocketAddress{tuple.destination, tuple.destination_port}.ToString());
}

std::string Show(Conntrack& conntrack, Family family) {
  std::string text;
  for (const Flow& flow : List(conntrack, family)) {
    text += fmt::format("{} {} reply {} mark {:#x}{}\n", flow.protocol,
                        Show(flow.original), Show(flow.reply), flow.mark,
                        (flow.status & IPS_DST_NAT) != 0 ? " translated" : "");
  }
  return text;
}

TEST_CASE("conntrack: lists flows with both directions, mark and translation",
          "[conntrack]") {
  OwnNamespace own;
  if (!own || !Prepare()) return;
  auto conntrack = Conntrack::Open();
  REQUIRE(conntrack.ok());
  SendDatagram(false, 8001, 9000);
  SendDatagram(false, 8002, 9002);
  SendDatagram(true, 8003, 9003);
  CHECK(Show(*conntrack, Family::kIpv4) ==
        "17 127.0.0.1:8001 > 127.0.0.1:9000 "
        "reply 127.0.0.1:9001 > 127.0.0.1:8001 mark 0x500 translated\n"
        "17 127.0.0.1:8002 > 127.0.0.1:9002 "
        "reply 127.0.0.1:9002 > 127.0.0.1:8002 mark 0x0\n");
  CHECK(Show(*conntrack, Family::kIpv6) ==
        "17 [::1]:8003 > [::1]:9003 reply [::1]:9003 > [::1]:8003 mark 0x0\n");
}

TEST_CASE("conntrack: deletes exactly one flow", "[conntrack]") {
  OwnNamespace own;
  if (!own || !Prepare()) return;
  auto conntrack = Conntrack::Open();
  REQUIRE(conntrack.ok());
  SendDatagram(false, 8001, 9000);
  SendDatagram(false, 8002, 9002);
  SendDatagram(true, 8003, 9003);
  const auto flows = List(*conntrack, Family::kIpv4);
  REQUIRE(flows.size() == 2);

  // A later flow of the same ends has another id and stays.
  Flow other = flows[0];
  other.id ^= 1;
  CHECK(conntrack->Delete(other).ok());
  CHECK(List(*conntrack, Family::kIpv4).size() == 2);

  for (int i = 0; i < 2; ++i) {
    CHECK(conntrack->Delete(flows[0]).ok());
    const auto left = List(*conntrack, Family::kIpv4);
    REQUIRE(left.size() == 1);
    CHECK(left[0].original == flows[1].original);
  }
  CHECK(conntrack->Delete(List(*conntrack, Family::kIpv6).at(0)).ok());
  CHECK(List(*conntrack, Family::kIpv6).empty());
  CHECK(List(*conntrack, Family::kIpv4).size() == 1);
}

TEST_CASE("conntrack: lists more flows than one datagram holds",
          "[conntrack]") {
  OwnNamespace own;
  if (!own || !Prepare()) return;
  auto conntrack = Conntrack::Open();
  REQUIRE(conntrack.ok());
  for (uint16_t port = 10000; port < 10500; ++port) {
    SendDatagram(false, port, 9002);
  }
  CHECK(List(*conntrack, Family::kIpv4).size() == 500);
}

}  // namespace
}  // namespace edged::netlink
