#include "edged/core/nic_address.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <catch2/catch.hpp>

#include "common/status.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using netlink::Address;
using netlink::Link;
using protocol::PublicAddress;

const std::vector<Link> kLinks = {
    {.index = 1, .name = "lo", .loopback = true},
    {.index = 2, .name = "eth0"},
    {.index = 3, .name = "eth1"},
    {.index = 4, .name = "edged0", .kind = "wireguard"},
};

Address On(int link, std::string_view address, int length,
           uint8_t scope = RT_SCOPE_UNIVERSE, uint32_t flags = 0) {
  return {link, Ip(address), length, scope, flags};
}

std::string Resolved(const std::vector<PublicAddress>& wanted,
                     const std::vector<Address>& addresses) {
  protocol::Settings settings;
  settings.public_addresses = wanted;
  std::string text;
  for (const auto& [address, nic] :
       ResolveNicAddresses(settings, kLinks, addresses, "edged0")) {
    text += nic.ok()
                ? fmt::format("{} at {} on {} ({})\n", address.ToString(),
                              nic->nic.ToString(), nic->interface, nic->link)
                : fmt::format("{}\n", Message(nic.status()));
  }
  return text;
}

TEST_CASE("nic_address: auto is the address itself where it is local",
          "[nic_address]") {
  CHECK(
      Resolved({{.address = Ip("203.0.113.1")}},
               {On(1, "127.0.0.1", 8, RT_SCOPE_HOST), On(2, "203.0.113.1", 24),
                On(2, "10.0.0.5", 24), On(3, "10.1.0.5", 24)}) ==
      "203.0.113.1 at 203.0.113.1 on eth0 (2)\n");
}

TEST_CASE("nic_address: a host address on lo counts, a network's does not",
          "[nic_address]") {
  const PublicAddress wanted{.address = Ip("203.0.113.1")};
  CHECK(Resolved({wanted}, {On(1, "203.0.113.1", 32), On(2, "10.0.0.5", 24)}) ==
        "203.0.113.1 at 203.0.113.1 on lo (1)\n");
  CHECK(Resolved({wanted}, {On(1, "203.0.113.1", 24), On(2, "10.0.0.5", 24)}) ==
        "203.0.113.1 at 10.0.0.5 on eth0 (2)\n");
  // The named interface is the one it arrives by.
  CHECK(Resolved({{.address = Ip("203.0.113.1"), .interface = "eth1"}},
                 {On(1, "203.0.113.1", 32), On(3, "10.0.0.5", 24)}) ==
        "203.0.113.1 at 203.0.113.1 on eth1 (3)\n");
}

TEST_CASE("nic_address: behind 1:1 translation it is the only global address",
          "[nic_address]") {
  const PublicAddress wanted{.address = Ip("203.0.113.1")};
  CHECK(
      Resolved({wanted},
               {On(2, "10.0.0.5", 24), On(2, "169.254.1.1", 16, RT_SCOPE_LINK),
                On(2, "2001:db8::5", 64), On(4, "10.200.0.1", 32)}) ==
      "203.0.113.1 at 10.0.0.5 on eth0 (2)\n");
  CHECK(Resolved({wanted}, {On(2, "10.0.0.5", 24), On(3, "10.1.0.5", 24)}) ==
        "public address 203.0.113.1 is not local, and it could be any of "
        "10.0.0.5 on eth0, 10.1.0.5 on eth1: name its interface or "
        "nicAddress\n");
  CHECK(Resolved({wanted}, {On(2, "2001:db8::5", 64)}) ==
        "public address 203.0.113.1 is not local, and this host has no global "
        "address for it\n");
}

TEST_CASE("nic_address: a named interface narrows the choice",
          "[nic_address]") {
  const PublicAddress wanted{.address = Ip("203.0.113.1"), .interface = "eth1"};
  CHECK(Resolved({wanted}, {On(2, "203.0.113.1", 24), On(3, "10.1.0.5", 24)}) ==
        "203.0.113.1 at 10.1.0.5 on eth1 (3)\n");
  CHECK(Resolved({wanted}, {On(3, "10.1.0.5", 24), On(3, "10.1.0.6", 24)}) ==
        "public address 203.0.113.1 is not local, and it could be any of "
        "10.1.0.5 on eth1, 10.1.0.6 on eth1: name its nicAddress\n");
  CHECK(Resolved({{.address = Ip("203.0.113.1"), .interface = "eth9"}}, {}) ==
        "public address 203.0.113.1: there is no interface eth9\n");
}

TEST_CASE("nic_address: a given nicAddress must be local", "[nic_address]") {
  PublicAddress wanted{.address = Ip("203.0.113.1"),
                       .nic_address = Ip("10.1.0.6")};
  const std::vector<Address> addresses = {
      On(2, "203.0.113.1", 24), On(3, "10.1.0.5", 24), On(3, "10.1.0.6", 24)};
  CHECK(Resolved({wanted}, addresses) ==
        "203.0.113.1 at 10.1.0.6 on eth1 (3)\n");
  wanted.interface = "eth0";
  CHECK(Resolved({wanted}, addresses) ==
        "public address 203.0.113.1: its nicAddress 10.1.0.6 is not on eth0\n");
  wanted.interface.clear();
  wanted.nic_address = Ip("10.9.9.9");
  CHECK(Resolved({wanted}, addresses) ==
        "public address 203.0.113.1: its nicAddress 10.9.9.9 is not on any "
        "interface\n");
  // Not the tunnel's, and not 127.0.0.1.
  wanted.nic_address = Ip("10.200.0.1");
  CHECK(Resolved({wanted}, {On(4, "10.200.0.1", 32)}) ==
        "public address 203.0.113.1: its nicAddress 10.200.0.1 is not on any "
        "interface\n");
}

TEST_CASE("nic_address: two public addresses never share one",
          "[nic_address]") {
  CHECK(
      Resolved({{.address = Ip("203.0.113.1")}, {.address = Ip("203.0.113.2")}},
               {On(2, "10.0.0.5", 24)}) ==
      "203.0.113.1 at 10.0.0.5 on eth0 (2)\n"
      "public addresses 203.0.113.1 and 203.0.113.2 both arrive at 10.0.0.5 "
      "on eth0: name another nicAddress\n");
}

TEST_CASE("nic_address: passes IPv6 addresses that do not last over",
          "[nic_address]") {
  CHECK(Resolved({{.address = Ip("2001:db8:1::1")}},
                 {On(2, "2001:db8::5", 64),
                  On(2, "2001:db8::6", 64, RT_SCOPE_UNIVERSE, IFA_F_TEMPORARY),
                  On(2, "2001:db8::7", 64, RT_SCOPE_UNIVERSE, IFA_F_DEPRECATED),
                  On(2, "fe80::1", 64, RT_SCOPE_LINK)}) ==
        "2001:db8:1::1 at 2001:db8::5 on eth0 (2)\n");
  // The same bit says secondary for IPv4: as good as any.
  CHECK(Resolved({{.address = Ip("203.0.113.1"), .interface = "eth0"}},
                 {On(2, "10.0.0.6", 24, RT_SCOPE_UNIVERSE, IFA_F_SECONDARY)}) ==
        "203.0.113.1 at 10.0.0.6 on eth0 (2)\n");
}

TEST_CASE("nic_address: an IPv6 address that another host has arrives nowhere",
          "[nic_address]") {
  const auto with = [](uint32_t flags) {
    return Resolved({{.address = Ip("2001:db8::5")}},
                    {On(2, "2001:db8::5", 64, RT_SCOPE_UNIVERSE, flags)});
  };
  CHECK(with(IFA_F_TENTATIVE) == "2001:db8::5 at 2001:db8::5 on eth0 (2)\n");
  CHECK(with(IFA_F_TENTATIVE | IFA_F_DADFAILED) ==
        "public address 2001:db8::5 on eth0: another host has it, too "
        "(duplicate address detection failed)\n");
}

}  // namespace
}  // namespace edged::edge
