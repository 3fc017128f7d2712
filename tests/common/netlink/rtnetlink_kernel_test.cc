#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "common/netlink/ipv6_settings.h"
#include "common/netlink/rtnetlink.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/netlink/veth_pair.h"

namespace edged::netlink {
namespace {

constexpr uint32_t kTable = 51900;  // more than the 8 bits of rtm_table

std::string Show(const absl::StatusOr<std::vector<Address>>& addresses,
                 int link) {
  REQUIRE(addresses.ok());
  std::string text;
  for (const Address& address : *addresses) {
    // Link-local addresses come by themselves.
    if (address.link != link || address.scope != RT_SCOPE_UNIVERSE) continue;
    text += fmt::format("{}/{} ", address.address.ToString(),
                        address.prefix_length);
  }
  return text;
}

std::string Show(const absl::StatusOr<std::vector<Route>>& routes) {
  REQUIRE(routes.ok());
  std::string text;
  for (const Route& route : *routes) {
    if (route.protocol != kRouteProtocol) continue;
    text += route.destination.ToString();
    if (route.gateway) text += " via " + route.gateway->ToString();
    if (route.source) text += " src " + route.source->ToString();
    text += fmt::format(" table {} metric {}; ", route.table, route.priority);
  }
  return text;
}

// "Fragmentation needed" comes in, for what `source` has sent to `destination`.
void TellTooBig(const char* source, const char* destination, uint16_t mtu) {
  struct {
    icmphdr icmp;
    iphdr packet;
    icmphdr reply;  // to errors of these the kernel listens without a socket
  } error{};
  error.icmp.type = ICMP_DEST_UNREACH;
  error.icmp.code = ICMP_FRAG_NEEDED;
  error.icmp.un.frag.mtu = htons(mtu);
  error.packet.version = 4;
  error.packet.ihl = sizeof error.packet / 4;
  error.packet.tot_len = htons(1400);
  error.packet.ttl = 64;
  error.packet.protocol = IPPROTO_ICMP;
  error.packet.saddr = inet_addr(source);
  error.packet.daddr = inet_addr(destination);
  uint16_t words[sizeof error / 2];
  std::memcpy(words, &error, sizeof error);
  uint32_t sum = 0;
  for (const uint16_t word : words) sum += word;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  error.icmp.checksum = static_cast<uint16_t>(~sum);
  const UniqueFd socket(
      ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
  REQUIRE(socket);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = inet_addr(source);
  REQUIRE(::sendto(socket.get(), &error, sizeof error, 0,
                   reinterpret_cast<const sockaddr*>(&to),
                   sizeof to) == static_cast<ssize_t>(sizeof error));
}

int PathMtu(const char* destination) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = inet_addr(destination);
  REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to),
                    sizeof to) == 0);
  int mtu = 0;
  socklen_t size = sizeof mtu;
  REQUIRE(::getsockopt(socket.get(), IPPROTO_IP, IP_MTU, &mtu, &size) == 0);
  return mtu;
}

std::string Show(const absl::StatusOr<std::vector<Rule>>& rules) {
  REQUIRE(rules.ok());
  std::string text;
  for (const Rule& rule : *rules) {
    text += fmt::format("v{} {}: {:#x}/{:#x} lookup {} proto {}; ",
                        static_cast<int>(rule.family), rule.priority, rule.mark,
                        rule.mask, rule.table, rule.protocol);
  }
  return text;
}

// /proc/sys/net shows the network namespace of the thread that opens it.
std::string ReadProc(const std::string& name) {
  std::ifstream file("/proc/sys/net/ipv4/" + name);
  std::string text;
  std::getline(file, text);
  return text;
}

TEST_CASE("rtnetlink: makes, changes, finds and deletes a link",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  CHECK(rtnetlink.SetLink(*near, true, 1420).ok());
  auto link = rtnetlink.GetLink("near");
  REQUIRE(link.ok());
  CHECK(link->index == *near);
  CHECK(link->kind == "veth");
  CHECK(link->mtu == 1420);
  CHECK(link->up);
  CHECK(link->multicast);
  CHECK_FALSE(link->loopback);
  const auto links = rtnetlink.ListLinks();
  REQUIRE(links.ok());
  CHECK(std::count(links->begin(), links->end(), *link) == 1);

  CHECK(rtnetlink.CreateLink("near", "veth").ok());
  CHECK(rtnetlink.SetLink(*near, false, 1420).ok());
  CHECK_FALSE(rtnetlink.GetLink("near")->up);
  CHECK(rtnetlink.DeleteLink("near").ok());
  CHECK(rtnetlink.DeleteLink("near").ok());
  CHECK(absl::IsNotFound(rtnetlink.GetLink("near").status()));
  CHECK(Message(rtnetlink.GetLink("near").status()) ==
        "link near: No such device");
}

TEST_CASE("rtnetlink: refuses links that cannot be", "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const absl::Status unknown = rtnetlink.CreateLink("edged0", "nothing");
  CHECK(absl::IsUnimplemented(unknown));
  CHECK(Message(unknown) ==
        "create link edged0 of kind nothing: Operation not supported (Unknown "
        "device type)");
  CHECK(Message(rtnetlink.CreateLink("a-name-too-long-", "veth")) ==
        "link \"a-name-too-long-\": a name has 1 to 15 characters");
  CHECK(absl::IsInvalidArgument(rtnetlink.GetLink("").status()));

  const auto near = MakePair(rtnetlink);
  if (!near) return;
  const absl::Status other = rtnetlink.CreateLink("near", "bridge");
  CHECK(absl::IsAlreadyExists(other));
  CHECK_THAT(std::string(Message(other)),
             Catch::StartsWith("there is one of kind \"veth\": create link near"
                               " of kind bridge: File exists"));
  const absl::Status mtu = rtnetlink.SetLink(*near, true, 7);
  CHECK_THAT(std::string(Message(mtu)),
             Catch::StartsWith("link near: set up, mtu 7: Invalid argument ("));
}

TEST_CASE("rtnetlink: addresses are added and removed, each twice",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  const Address second{
      .link = *near, .address = Ip("10.200.0.1"), .prefix_length = 32};
  const Address sixth{.link = *near,
                      .address = Ip("fd00:9::1"),
                      .prefix_length = 64,
                      .flags = IFA_F_NODAD};
  for (int i = 0; i < 2; ++i) {
    CHECK(rtnetlink.AddAddress(second).ok());
    const absl::Status status = rtnetlink.AddAddress(sixth);
    INFO(status.ToString());
    CHECK(status.ok());
    CHECK(Show(rtnetlink.ListAddresses(), *near) ==
          "10.9.0.1/24 10.200.0.1/32 fd00:9::1/64 ");
  }
  for (int i = 0; i < 2; ++i) {
    CHECK(rtnetlink.RemoveAddress(second).ok());
    CHECK(rtnetlink.RemoveAddress(sixth).ok());
    CHECK(Show(rtnetlink.ListAddresses(), *near) == "10.9.0.1/24 ");
  }
  Address nowhere = second;
  nowhere.link = 4711;
  CHECK(rtnetlink.RemoveAddress(nowhere).ok());
  const absl::Status status = rtnetlink.AddAddress(nowhere);
  CHECK(absl::IsNotFound(status));
  CHECK_THAT(std::string(Message(status)),
             Catch::StartsWith("link 4711: add address 10.200.0.1/32: "
                               "No such device"));
}

TEST_CASE("rtnetlink: an address says whose it is", "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  MessageBuilder request(RTM_GETADDR, 0);
  request.PutHeader(ifaddrmsg{.ifa_family = AF_INET});
  std::optional<uint8_t> protocol;
  const absl::Status status = rtnetlink.socket().Dump(
      request, "list addresses", [] {},
      [&protocol](const MessageView& answer) {
        return ForEachAttribute(
            answer.AttributesAfter(sizeof(ifaddrmsg)),
            [&protocol](const Attribute& attribute) -> absl::Status {
              if (attribute.type == IFA_PROTO) {
                ASSIGN_OR_RETURN(protocol, attribute.U8());
              }
              return absl::OkStatus();
            });
      });
  REQUIRE(status.ok());
  if (!protocol.has_value()) {
    std::printf("SKIPPED: this kernel keeps no address protocol\n");
    return;
  }
  CHECK(*protocol == kRouteProtocol);
}

TEST_CASE("rtnetlink: routes keep protocol, table, source and metric",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  const Route direct{.destination = Prefix("10.200.0.0/22"),
                     .link = *near,
                     .source = Ip("10.9.0.1"),
                     .table = kTable,
                     .priority = 77};
  const Route sixth{
      .destination = Prefix("fd00:5::/64"), .link = *near, .table = kTable};
  Route gateway{.destination = Prefix("0.0.0.0/0"),
                .link = *near,
                .gateway = Ip("10.9.0.2"),
                .table = kTable};
  for (int i = 0; i < 2; ++i) {
    CHECK(rtnetlink.ReplaceRoute(direct).ok());
    CHECK(rtnetlink.ReplaceRoute(sixth).ok());
    CHECK(rtnetlink.ReplaceRoute(gateway).ok());
  }
  gateway.gateway = Ip("10.9.0.3");
  CHECK(rtnetlink.ReplaceRoute(gateway).ok());
  CHECK(Show(rtnetlink.ListRoutes()) ==
        "0.0.0.0/0 via 10.9.0.3 table 51900 metric 0; "
        "10.200.0.0/22 src 10.9.0.1 table 51900 metric 77; "
        "fd00:5::/64 table 51900 metric 1024; ");
  const auto routes = rtnetlink.ListRoutes();
  CHECK(std::count(routes->begin(), routes->end(), direct) == 1);
  CHECK(std::count(routes->begin(), routes->end(), gateway) == 1);

  // Another owner's route to the same place stays.
  Route foreign = direct;
  foreign.protocol = RTPROT_STATIC;
  CHECK(rtnetlink.RemoveRoute(foreign).ok());
  for (int i = 0; i < 2; ++i) {
    CHECK(rtnetlink.RemoveRoute(sixth).ok());
    CHECK(rtnetlink.RemoveRoute(gateway).ok());
    CHECK(Show(rtnetlink.ListRoutes()) ==
          "10.200.0.0/22 src 10.9.0.1 table 51900 metric 77; ");
  }
  // A table that holds nothing else, and then does not exist.
  CHECK(rtnetlink.RemoveRoute(direct).ok());
  CHECK(rtnetlink.RemoveRoute(direct).ok());
  CHECK(Show(rtnetlink.ListRoutes()).empty());
}

TEST_CASE("rtnetlink: a gateway that no other route leads to is on the link",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  Route route{.destination = Prefix("0.0.0.0/0"),
              .link = *near,
              .gateway = Ip("172.31.1.1"),
              .table = kTable};
  CHECK_FALSE(rtnetlink.ReplaceRoute(route).ok());
  route.onlink = true;
  CHECK(rtnetlink.ReplaceRoute(route).ok());
  const auto routes = rtnetlink.ListRoutes();
  CHECK(std::count(routes->begin(), routes->end(), route) == 1);
}

TEST_CASE("rtnetlink: neighbours that are there", "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  REQUIRE(std::system("ip neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev near "
                      "&& ip neigh add 10.9.0.8 dev near nud failed "
                      "&& ip neigh add fe80::7 lladdr 02:00:00:00:00:07 "
                      "router dev near nud stale") == 0);
  auto neighbours = rtnetlink.ListNeighbours();
  REQUIRE(neighbours.ok());
  std::ranges::sort(*neighbours);
  const std::string mac{2, 0, 0, 0, 0, 7};
  CHECK(*neighbours ==
        std::vector<Neighbour>{{*near, Ip("10.9.0.7"), mac, false},
                               {*near, Ip("fe80::7"), mac, true}});
}

TEST_CASE("rtnetlink: a refused route is named with the kernel's reason",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  const absl::Status status =
      rtnetlink.ReplaceRoute({.destination = Prefix("192.0.2.0/24"),
                              .link = *near,
                              .gateway = Ip("198.51.100.1")});
  CHECK(Message(status) ==
        "link near: set route 192.0.2.0/24 via 198.51.100.1 table 254: "
        "Network is unreachable (Nexthop has invalid gateway)");
  const auto error = KernelErrorOf(status);
  REQUIRE(error.has_value());
  CHECK(error->error == ENETUNREACH);
}

TEST_CASE("rtnetlink: a route's MTU is set, changed and taken away",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = Rtnetlink::Open().value();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  Route fourth{.destination = Prefix("192.0.2.0/24"), .link = *near};
  Route sixth{.destination = Prefix("fd00:5::/64"),
              .link = *near,
              .priority = kIpv6Metric};
  for (const uint32_t mtu : {1300u, 1280u, 0u}) {
    fourth.mtu = sixth.mtu = mtu;
    for (const Route& route : {fourth, sixth}) {
      INFO(route.destination.ToString() << " " << mtu);
      CHECK(rtnetlink.ReplaceRoute(route).ok());
      const auto routes = rtnetlink.ListRoutes();
      REQUIRE(routes.ok());
      CHECK(std::count(routes->begin(), routes->end(), route) == 1);
      CHECK(std::count_if(routes->begin(), routes->end(),
                          [&route](const Route& other) {
                            return other.destination == route.destination;
                          }) == 1);
      const auto taken = rtnetlink.RouteTo(
          route.destination.family() == Family::kIpv4 ? Ip("192.0.2.7")
                                                      : Ip("fd00:5::7"));
      REQUIRE(taken.ok());
      CHECK(taken->mtu == mtu);
    }
  }
}

TEST_CASE("rtnetlink: only unicast routes are listed", "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  const auto routes = rtnetlink.ListRoutes();
  REQUIRE(routes.ok());
  std::string kernel;
  for (const Route& route : *routes) {
    if (!route.destination.address().is_ipv4()) continue;
    kernel +=
        fmt::format("{} table {} protocol {}; ", route.destination.ToString(),
                    route.table, route.protocol);
  }
  // The local table's own and broadcast addresses are left out.
  CHECK(kernel == "10.9.0.0/24 table 254 protocol 2; ");
}

TEST_CASE("rtnetlink: rules by mark are added and removed, each twice",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const std::string own_rules =
      "v4 0: 0x0/0x0 lookup 255 proto 2; v4 32766: 0x0/0x0 lookup 254 proto 2; "
      "v4 32767: 0x0/0x0 lookup 253 proto 2; ";
  const Rule rule{.priority = 900, .mark = 0x05, .mask = 0xff, .table = kTable};
  Rule sixth = rule;
  sixth.family = Family::kIpv6;
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = rtnetlink.AddRule(rule);
    INFO(status.ToString());
    CHECK(status.ok());
    CHECK(rtnetlink.AddRule(sixth).ok());
  }
  auto rules = rtnetlink.ListRules();
  REQUIRE(rules.ok());
  CHECK(std::count(rules->begin(), rules->end(), rule) == 1);
  CHECK(std::count(rules->begin(), rules->end(), sixth) == 1);

  // Rules that Rule cannot say do not look like ours.
  REQUIRE(std::system("ip rule add pref 901 fwmark 5 iif lo lookup 77 && "
                      "ip rule add pref 902 from 10.0.0.0/8 lookup 77 && "
                      "ip rule add pref 903 not fwmark 5 lookup 77") == 0);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = rtnetlink.RemoveRule(rule);
    INFO(status.ToString());
    CHECK(status.ok());
    CHECK(rtnetlink.RemoveRule(sixth).ok());
  }
  rules = rtnetlink.ListRules();
  REQUIRE(rules.ok());
  std::erase_if(*rules,
                [](const Rule& r) { return r.family != Family::kIpv4; });
  CHECK(Show(rules) == own_rules);
}

TEST_CASE("rtnetlink: tells the route that would be taken", "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  CHECK(rtnetlink
            .ReplaceRoute({.destination = Prefix("192.0.2.0/24"),
                           .link = *near,
                           .gateway = Ip("10.9.0.2")})
            .ok());
  const auto route = rtnetlink.RouteTo(Ip("192.0.2.7"));
  REQUIRE(route.ok());
  CHECK(route->destination.ToString() == "192.0.2.7/32");
  CHECK(route->gateway == Ip("10.9.0.2"));
  CHECK(route->source == Ip("10.9.0.1"));
  CHECK(route->link == *near);
  CHECK(route->table == RT_TABLE_MAIN);
  const auto none = rtnetlink.RouteTo(Ip("198.51.100.1"));
  CHECK(absl::IsNotFound(none.status()));
  CHECK(Message(none.status()) ==
        "route to 198.51.100.1: Network is unreachable");
}

TEST_CASE("rtnetlink: tells the MTU of the route, not of the path",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  REQUIRE(rtnetlink.SetLink(rtnetlink.GetLink("lo")->index, true, 0).ok());
  Route route{.destination = Prefix("192.0.2.0/24"),
              .link = *near,
              .gateway = Ip("10.9.0.2")};
  for (const uint32_t mtu : {0u, 1400u}) {
    route.mtu = mtu;
    REQUIRE(rtnetlink.ReplaceRoute(route).ok());
    CHECK(rtnetlink.RouteTo(Ip("192.0.2.7"))->mtu == mtu);
    CHECK(*rtnetlink.LearnedMtuTo(Ip("192.0.2.7")) == std::nullopt);
    TellTooBig("10.9.0.1", "192.0.2.7", 1300);
    REQUIRE(PathMtu("192.0.2.7") == 1300);
    const auto found = rtnetlink.RouteTo(Ip("192.0.2.7"));
    REQUIRE(found.status() == absl::OkStatus());
    CHECK(found->mtu == mtu);
    const auto learned = *rtnetlink.LearnedMtuTo(Ip("192.0.2.7"));
    REQUIRE(learned);
    CHECK(learned->mtu == 1300);
    CHECK(learned->expires > std::chrono::seconds(500));
    CHECK(found->destination.ToString() == "192.0.2.7/32");
    CHECK(found->source == Ip("10.9.0.1"));
  }
}

TEST_CASE("rtnetlink: sets forwarding and rp_filter of one link alone",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near) return;
  REQUIRE(ReadProc("ip_forward") == "0");
  CHECK(*rtnetlink.ForwardingEverywhere(Family::kIpv4) == false);
  for (int i = 0; i < 2; ++i) {
    CHECK(rtnetlink.SetIpv4Conf(*near, {.forwarding = true, .rp_filter = 2})
              .ok());
    CHECK(ReadProc("conf/near/forwarding") == "1");
    CHECK(ReadProc("conf/near/rp_filter") == "2");
    CHECK(ReadProc("ip_forward") == "0");
    CHECK(ReadProc("conf/lo/forwarding") == "0");
  }
  const auto link = rtnetlink.GetLink("near");
  REQUIRE(link.ok());
  CHECK(link->ipv4 == Ipv4Conf{.forwarding = true, .rp_filter = 2});
  CHECK(
      rtnetlink.SetIpv4Conf(*near, {.forwarding = false, .rp_filter = 1}).ok());
  CHECK(ReadProc("conf/near/forwarding") == "0");
  CHECK(ReadProc("conf/near/rp_filter") == "1");
  CHECK(*rtnetlink.ForwardingEverywhere(Family::kIpv4) == false);

  const absl::Status nowhere = rtnetlink.SetIpv4Conf(4711, {});
  CHECK_THAT(std::string(Message(nowhere)),
             Catch::StartsWith("link 4711: set forwarding 0, rp_filter 0: "));
}

TEST_CASE("rtnetlink: sees the namespace's forwarding default", "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  if (::access("/proc/sys/net/ipv4/ip_forward", W_OK) != 0) {
    std::printf("SKIPPED: /proc/sys is read-only\n");
    return;
  }
  std::ofstream("/proc/sys/net/ipv4/ip_forward") << "1";
  CHECK(*rtnetlink.ForwardingEverywhere(Family::kIpv4) == true);
}

TEST_CASE("rtnetlink: tells the IPv6 route that would be taken",
          "[rtnetlink]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near || PresenceOfIpv6() != Ipv6Presence::kOn) return;
  REQUIRE(rtnetlink
              .AddAddress({.link = *near,
                           .address = Ip("fd00:9::1"),
                           .prefix_length = 64,
                           .flags = IFA_F_NODAD})
              .ok());
  const auto route = rtnetlink.RouteTo(Ip("fd00:9::7"));
  REQUIRE(route.status() == absl::OkStatus());
  CHECK(route->destination.ToString() == "fd00:9::7/128");
  CHECK(route->link == *near);
  CHECK(route->table == RT_TABLE_MAIN);
  CHECK(absl::IsNotFound(rtnetlink.RouteTo(Ip("2001:db8::1")).status()));
}

}  // namespace
}  // namespace edged::netlink
