#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <functional>
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
  CHECK(*conntrack->Delete({other}) == 0);
  CHECK(List(*conntrack, Family::kIpv4).size() == 2);

  for (const int deleted : {1, 0}) {
    CHECK(*conntrack->Delete({flows[0]}) == deleted);
    const auto left = List(*conntrack, Family::kIpv4);
    REQUIRE(left.size() == 1);
    CHECK(left[0].original == flows[1].original);
  }
  CHECK(*conntrack->Delete(List(*conntrack, Family::kIpv6)) == 1);
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

using End = FlowFilter::End;

// The original source ports of what the kernel picks.
std::string Picked(Conntrack& conntrack, const FlowFilter& filter) {
  std::vector<uint16_t> ports;
  const absl::Status status =
      conntrack.ForEachFlow(filter, [&ports](const Flow& flow) {
        ports.push_back(flow.original.source_port);
      });
  REQUIRE(status.ok());
  std::ranges::sort(ports);
  return fmt::format("{}", fmt::join(ports, " "));
}

TEST_CASE("conntrack: picks flows by any of their ends", "[conntrack]") {
  OwnNamespace own;
  if (!own || !Prepare()) return;
  auto conntrack = Conntrack::Open();
  REQUIRE(conntrack.ok());
  SendDatagram(false, 8001, 9000);
  SendDatagram(false, 8002, 9002);
  SendDatagram(true, 8003, 9002);
  const IpAddress four = *IpAddress::Parse("127.0.0.1");
  const IpAddress six = *IpAddress::Parse("::1");
  const auto picked = [&](const FlowFilter& filter) {
    return Picked(*conntrack, filter);
  };
  CHECK(picked({End::kOriginalDestination, four}) == "8001 8002");
  CHECK(picked({End::kOriginalDestination, four, IPPROTO_TCP}) == "");
  CHECK(picked({End::kOriginalDestination, four, IPPROTO_UDP, 9000}) == "8001");
  CHECK(picked({End::kOriginalDestination, four, IPPROTO_UDP, 9001}) == "");
  CHECK(picked({End::kReplySource, four, IPPROTO_UDP, 9001}) == "8001");
  CHECK(picked({End::kOriginalSource, four, IPPROTO_UDP, 8002}) == "8002");
  CHECK(picked({End::kReplyDestination, four, IPPROTO_UDP, 8002}) == "8002");
  CHECK(picked({End::kReplyDestination, four}) == "8001 8002");
  CHECK(picked({End::kReplySource, *IpAddress::Parse("127.0.0.2")}) == "");
  CHECK(picked({End::kOriginalDestination, six, IPPROTO_UDP, 9002}) == "8003");
  CHECK(picked({End::kReplySource, six}) == "8003");
  CHECK(picked({End::kReplySource, *IpAddress::Parse("::2")}) == "");
}

// Flows from one socket to `count` ports of 127.0.0.1 from `first` on.
void SendToMany(uint16_t from, uint16_t first, int count) {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(from);
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  REQUIRE(::bind(fd.get(), name, sizeof address) == 0);
  for (int i = 0; i < count; ++i) {
    address.sin_port = htons(static_cast<uint16_t>(first + i));
    // Nobody listens, which the socket is told once in a while.
    while (::sendto(fd.get(), "x", 1, 0, name, sizeof address) != 1) {
      REQUIRE(errno == ECONNREFUSED);
    }
  }
}

std::chrono::microseconds Took(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
}

TEST_CASE("conntrack: of 51,000 flows exactly the 1,000 picked ones go",
          "[conntrack]") {
  OwnNamespace own;
  if (!own || !Prepare()) return;
  auto conntrack = Conntrack::Open();
  REQUIRE(conntrack.ok());
  SendToMany(7001, 10000, 50'000);
  SendToMany(7002, 10000, 1'000);
  REQUIRE(List(*conntrack, Family::kIpv4).size() == 51'000);
  const IpAddress local = *IpAddress::Parse("127.0.0.1");
  std::vector<Flow> stale;
  const auto all = Took([&] {
    REQUIRE(conntrack->ForEachFlow(Family::kIpv4, [](const Flow&) {}).ok());
  });
  const auto one = Took([&] {
    const FlowFilter filter{End::kOriginalDestination, local, IPPROTO_UDP,
                            10'500};
    CHECK(Picked(*conntrack, filter) == "7001 7002");
  });
  const auto find = Took([&] {
    REQUIRE(conntrack
                ->ForEachFlow({End::kOriginalSource, local, IPPROTO_UDP, 7002},
                              [&](const Flow& flow) { stale.push_back(flow); })
                .ok());
  });
  const auto go = Took([&] { CHECK(*conntrack->Delete(stale) == 1'000); });
  std::printf(
      "51,000 flows: all listed in %ld us, one port in %ld us, 1,000 found in "
      "%ld us and deleted in %ld us\n",
      all.count(), one.count(), find.count(), go.count());
  CHECK(List(*conntrack, Family::kIpv4).size() == 50'000);
  CHECK(one < all);
}

}  // namespace
}  // namespace edged::netlink
