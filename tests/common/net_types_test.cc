#include "common/net_types.h"

#include <catch2/catch.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "common/status.h"

namespace edged {
namespace {

IpAddress Ip(std::string_view text) {
  const auto address = IpAddress::Parse(text);
  INFO(text);
  REQUIRE(address.ok());
  return *address;
}

// What T::Parse makes of `text`, printed, or its error.
template <typename T>
std::string Parsed(std::string_view text) {
  const auto value = T::Parse(text);
  return value.ok() ? value->ToString() : std::string(Message(value.status()));
}

TEST_CASE("ip_address: parses and prints both families", "[net_types]") {
  for (const char* text :
       {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1",
        "fe80::1:2:3:4", "::ffff:192.0.2.1"}) {
    CHECK(Parsed<IpAddress>(text) == text);
  }
  CHECK(Parsed<IpAddress>("2001:DB8:0:0:0:0:0:1") == "2001:db8::1");
  CHECK(IpAddress() == Ip("0.0.0.0"));
}

TEST_CASE("ip_address: refuses everything else", "[net_types]") {
  for (const char* text :
       {"", "foo", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/8",
        " 10.0.0.1", "10.0.0.1 ", "1.2.3.4.5", "::1%lo", "[::1]",
        ":::", "2001:db8:::1", "12345::", "localhost"}) {
    CHECK(Parsed<IpAddress>(text) ==
          "\"" + std::string(text) + "\" is not an IP address");
  }
  CHECK_FALSE(IpAddress::Parse(std::string_view("10.0.0.1\0", 9)).ok());
}

TEST_CASE("ip_address: knows the special ones", "[net_types]") {
  CHECK(Ip("0.0.0.0").is_unspecified());
  CHECK(Ip("::").is_unspecified());
  CHECK_FALSE(Ip("::1").is_unspecified());
  CHECK(Ip("127.8.9.1").is_loopback());
  CHECK(Ip("::1").is_loopback());
  CHECK_FALSE(Ip("::2").is_loopback());
  CHECK_FALSE(Ip("1::1").is_loopback());
  CHECK_FALSE(Ip("128.0.0.1").is_loopback());
  CHECK(Ip("224.0.0.1").is_multicast());
  CHECK(Ip("239.255.255.255").is_multicast());
  CHECK_FALSE(Ip("240.0.0.1").is_multicast());
  CHECK(Ip("ff02::1").is_multicast());
  CHECK_FALSE(Ip("fe80::1").is_multicast());
}

TEST_CASE("ip_address: has its bytes in network order", "[net_types]") {
  CHECK(IpAddress::FromIpv4(0xc0000201).ToString() == "192.0.2.1");
  const uint8_t four[] = {192, 0, 2, 1};
  CHECK(IpAddress::FromBytes(four) == Ip("192.0.2.1"));
  const IpAddress six = Ip("2001:db8::ff");
  REQUIRE(six.bytes().size() == 16);
  CHECK(six.bytes()[1] == 0x01);
  CHECK(six.bytes()[15] == 0xff);
  CHECK(IpAddress::FromBytes(six.bytes()) == six);
  CHECK(Ip("10.0.0.1") < Ip("10.0.1.0"));
  CHECK(Ip("255.0.0.0") < Ip("::"));  // by family first
}

TEST_CASE("ip_address: adds with carries", "[net_types]") {
  const std::vector<std::tuple<std::string, uint64_t, int, std::string>> cases =
      {
          {"10.200.0.0", 0, 0, "10.200.0.0"},
          {"10.200.0.0", 1, 0, "10.200.0.1"},
          {"10.200.0.255", 1, 0, "10.200.1.0"},
          {"10.255.255.255", 1, 0, "11.0.0.0"},
          {"255.255.255.255", 1, 0, "0.0.0.0"},
          {"10.0.0.0", 0x1020304, 0, "11.2.3.4"},
          {"0.0.0.0", uint64_t{1} << 32, 0, "0.0.0.0"},
          {"10.200.0.0", 63, 4, "10.200.3.240"},
          {"10.200.0.128", 63, 1, "10.200.0.254"},
          {"10.0.0.1", 3, 8, "10.0.3.1"},
          {"10.0.255.0", 1, 8, "10.1.0.0"},
          {"1.0.0.0", 0x80, 25, "1.0.0.0"},
          {"1.0.0.0", 0x7f, 25, "255.0.0.0"},
          {"2001:db8::ffff", 1, 0, "2001:db8::1:0"},
          {"2001:db8::ffff:ffff:ffff:ffff", 1, 0, "2001:db8:0:1::"},
          {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, 0, "::"},
          {"::", ~uint64_t{0}, 0, "::ffff:ffff:ffff:ffff"},
          {"::", ~uint64_t{0}, 64, "ffff:ffff:ffff:ffff::"},
          {"::", ~uint64_t{0}, 60, "fff:ffff:ffff:ffff:f000::"},
          {"::", ~uint64_t{0}, 3, "::7:ffff:ffff:ffff:fff8"},
          {"fd00::", 63, 58, "fd00:0:0:0:fc00::"},
          {"fd00:0:0:0:fc00::", 1, 58, "fd00:0:0:1::"},
          {"::", 1, 127, "8000::"},
          {"8000::1", 1, 127, "::1"},
          {"::", 5, 121, "a00::"},
      };
  for (const auto& [from, offset, shift, to] : cases) {
    INFO(from << " + " << offset << " << " << shift);
    CHECK(Ip(from).Plus(offset, shift).ToString() == Ip(to).ToString());
  }
}

TEST_CASE("ip_prefix: parses, prints, refuses host bits", "[net_types]") {
  for (const char* text :
       {"10.200.0.0/22", "0.0.0.0/0", "10.0.0.128/25", "192.0.2.1/32", "::/0",
        "fd00::/64", "2001:db8::1/128", "2001:db8:8000::/33"}) {
    CHECK(Parsed<IpPrefix>(text) == text);
  }
  CHECK(Parsed<IpPrefix>("10.0.0.1/8") ==
        "\"10.0.0.1/8\" has host bits set: 10.0.0.0/8 was meant?");
  CHECK(Parsed<IpPrefix>("10.0.0.64/25") ==
        "\"10.0.0.64/25\" has host bits set: 10.0.0.0/25 was meant?");
  CHECK(Parsed<IpPrefix>("fd00::1/64") ==
        "\"fd00::1/64\" has host bits set: fd00::/64 was meant?");
  CHECK(Parsed<IpPrefix>("10.0.0.0") ==
        "\"10.0.0.0\" is not a prefix: it has no /length");
  CHECK(Parsed<IpPrefix>("not-a-cidr/8") == "\"not-a-cidr/8\" is not a prefix");
  for (const char* text :
       {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/8 ",
        "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/99999999999"}) {
    CHECK(Parsed<IpPrefix>(text) == "\"" + std::string(text) +
                                        "\" is not a prefix: the length is 0 "
                                        "to 32");
  }
  CHECK(Parsed<IpPrefix>("::/129") ==
        "\"::/129\" is not a prefix: the length is 0 to 128");
}

TEST_CASE("ip_prefix: clears host bits and bounds the length", "[net_types]") {
  CHECK(IpPrefix(Ip("10.1.2.3"), 8).ToString() == "10.0.0.0/8");
  CHECK(IpPrefix(Ip("10.1.2.3"), 31).ToString() == "10.1.2.2/31");
  CHECK(IpPrefix(Ip("10.1.2.3"), 40).ToString() == "10.1.2.3/32");
  CHECK(IpPrefix(Ip("10.1.2.3"), -1).ToString() == "0.0.0.0/0");
  CHECK(IpPrefix(Ip("ffff::ffff"), 1).ToString() == "8000::/1");
  CHECK(IpPrefix::Host(Ip("10.1.2.3")).ToString() == "10.1.2.3/32");
  CHECK(IpPrefix::Host(Ip("::1")).ToString() == "::1/128");
}

TEST_CASE("ip_prefix: contains and overlaps within a family", "[net_types]") {
  const IpPrefix ten(Ip("10.0.0.0"), 8);
  const IpPrefix inner(Ip("10.200.0.0"), 22);
  const IpPrefix next(Ip("10.200.4.0"), 22);
  const IpPrefix all4(Ip("0.0.0.0"), 0);
  const IpPrefix all6(Ip("::"), 0);
  CHECK(inner.Contains(Ip("10.200.3.255")));
  CHECK_FALSE(inner.Contains(Ip("10.200.4.0")));
  CHECK_FALSE(inner.Contains(Ip("10.199.255.255")));
  CHECK(all4.Contains(Ip("255.255.255.255")));
  CHECK_FALSE(all4.Contains(Ip("::1")));
  CHECK_FALSE(all6.Contains(Ip("10.0.0.1")));
  CHECK(ten.Contains(inner));
  CHECK(ten.Contains(ten));
  CHECK_FALSE(inner.Contains(ten));
  CHECK(inner.Overlaps(ten));
  CHECK(ten.Overlaps(inner));
  CHECK_FALSE(inner.Overlaps(next));
  CHECK_FALSE(all4.Overlaps(all6));
}

TEST_CASE("socket_address: parses and prints", "[net_types]") {
  for (const char* text :
       {"192.0.2.1:51820", "[2001:db8::1]:51820", "[::]:1", "0.0.0.0:65535"}) {
    CHECK(Parsed<SocketAddress>(text) == text);
  }
  for (const char* text :
       {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536",
        "192.0.2.1:-1", "192.0.2.1:080", "192.0.2.1:80x", ":80", "2001:db8::1",
        "::1:80", "[::1]", "[::1]80", "[192.0.2.1]:80", "[::1]:0", "::1]:80",
        "host:80", "[]:80", " 192.0.2.1:80"}) {
    CHECK(Parsed<SocketAddress>(text) ==
          "\"" + std::string(text) + "\" is not ADDRESS:PORT");
  }
}

TEST_CASE("port_range: contains, overlaps, counts", "[net_types]") {
  const PortRange web{443, 443};
  const PortRange games{50000, 50100};
  const PortRange all{1, 65535};
  CHECK(web.ToString() == "443");
  CHECK(games.ToString() == "50000-50100");
  CHECK(web.is_single());
  CHECK_FALSE(games.is_single());
  CHECK(web.size() == 1);
  CHECK(games.size() == 101);
  CHECK(all.size() == 65535);
  CHECK(games.Contains(50000));
  CHECK(games.Contains(50100));
  CHECK_FALSE(games.Contains(49999));
  CHECK_FALSE(games.Contains(50101));
  CHECK(games.Overlaps(PortRange{50100, 60000}));
  CHECK(games.Overlaps(PortRange{1, 50000}));
  CHECK_FALSE(games.Overlaps(PortRange{50101, 60000}));
  CHECK_FALSE(games.Overlaps(PortRange{1, 49999}));
  CHECK(all.Overlaps(web));
}

}  // namespace
}  // namespace edged
