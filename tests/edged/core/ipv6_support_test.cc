#include "edged/core/ipv6_support.h"

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

// The sample edge of both families, on a host as observed.
class Host {
 public:
  std::string Against() const {
    HostFacts facts = DualFacts();
    facts.mtu = mtu;
    facts.ipv6 = Ipv6Facts(settings, host, &device, mtu);
    const auto against = AgainstIpv6(settings, facts, &device, &eth0);
    return against ? against->reason + ": " + against->message : "";
  }

  protocol::Settings settings = DualState().settings;
  Ipv6Host host{.forwarding_everywhere = true};
  netlink::Link device{.name = "edged0", .ipv6 = {.enabled = true}};
  netlink::Link eth0{.name = "eth0", .ipv6 = {.enabled = true}};
  uint32_t mtu = 1420;
};

TEST_CASE("ipv6_support: nothing is against a host that forwards",
          "[ipv6_support]") {
  CHECK(Host().Against().empty());
}

TEST_CASE("ipv6_support: says what IPv6 lacks", "[ipv6_support]") {
  Host host;
  SECTION("the device") {
    host.device.ipv6.enabled = false;
    CHECK(host.Against() ==
          "Ipv6NotAvailable: IPv6 is switched off on this edge: "
          "net.ipv6.conf.edged0.disable_ipv6 is 1, or the kernel has no IPv6");
  }
  SECTION("the MTU") {
    host.mtu = 1279;
    CHECK(host.Against() ==
          "Ipv6NotAvailable: the tunnel's MTU 1279 is below IPv6's least, "
          "1280");
  }
  SECTION("the network") {
    host.settings.network6.reset();
    CHECK(host.Against() ==
          "Ipv6NotAvailable: the agent gave this edge no IPv6 network");
  }
}

TEST_CASE("ipv6_support: says which sysctl keeps it from forwarding",
          "[ipv6_support]") {
  Host host;
  host.host.forwarding_everywhere = false;
  const std::string off =
      "Ipv6ForwardingOff: net.ipv6.conf.all.forwarding is 0 on this edge, and "
      "edged may not write it: `edged prepare`, as root, does";
  CHECK(host.Against() == off);
  SECTION("unless we may switch the devices") {
    host.host.may_switch = true;
    CHECK(host.Against().empty());
  }
  SECTION("unless both devices forward") {
    host.device.ipv6.force_forwarding = true;
    CHECK(host.Against() == off);
    host.eth0.ipv6.force_forwarding = true;
    CHECK(host.Against().empty());
  }
}

}  // namespace
}  // namespace edged::edge
