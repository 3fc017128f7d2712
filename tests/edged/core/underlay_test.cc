#include "edged/core/underlay.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

netlink::Route Default(int link) {
  return {.destination = Net("0.0.0.0/0"), .link = link, .protocol = 4};
}

struct Host {
  protocol::Settings settings = SampleState().settings;
  std::vector<RouteToPeer> peers;
  ObservedRoutes observed{
      .links = {{.index = 2, .name = "eth0", .mtu = 1500, .up = true},
                {.index = 3, .name = "eth1", .mtu = 1400, .up = true},
                {.index = 7, .name = "edged0", .mtu = 1300, .up = true}},
      .routes = {Default(2)}};

  void Peer(std::string_view endpoint, int link, uint32_t mtu = 0) {
    peers.push_back({Ip(endpoint), {.link = link, .mtu = mtu}});
  }
  // "own/device"
  std::string Mtu() const {
    HostFacts facts = SampleFacts();
    JudgeUnderlay(settings, peers, observed, facts);
    return fmt::format("{}/{}", facts.own_mtu, facts.mtu);
  }
};

TEST_CASE("underlay: the ways to the uplinks decide", "[underlay]") {
  Host host;
  host.Peer("198.51.100.7", 2);
  CHECK(host.Mtu() == "1440/1440");
  host.Peer("2001:db8::7", 2);
  CHECK(host.Mtu() == "1420/1420");
  host.Peer("198.51.100.8", 2, 1450);
  CHECK(host.Mtu() == "1390/1390");
  host.Peer("198.51.100.9", 3);
  CHECK(host.Mtu() == "1340/1340");
  host.peers = {};
  host.Peer("198.51.100.9", 2, 9000);  // more than the link takes
  CHECK(host.Mtu() == "1440/1440");
}

TEST_CASE("underlay: before an uplink is heard, the default routes do",
          "[underlay]") {
  Host host;
  CHECK(host.Mtu() == "1420/1420");
  host.observed.routes.push_back(Default(3));
  CHECK(host.Mtu() == "1320/1320");
  host.observed.routes = {Default(7)};  // into the tunnel itself
  CHECK(host.Mtu() == "1420/1420");
  host.observed.routes = {};
  CHECK(host.Mtu() == "1420/1420");
}

TEST_CASE("underlay: a small one keeps the device of a host with IPv6 at 1280",
          "[underlay]") {
  Host host;
  host.Peer("198.51.100.7", 2, 1280);
  CHECK(host.Mtu() == "1220/1220");
  host.settings = DualState().settings;
  CHECK(host.Mtu() == "1220/1280");
  host.peers[0].route.mtu = 500;
  CHECK(host.Mtu() == "576/1280");
}

TEST_CASE("underlay: the settings' number is taken as it is", "[underlay]") {
  Host host;
  host.Peer("198.51.100.7", 3);
  host.settings.mtu = 1420;
  CHECK(host.Mtu() == "1420/1420");
  host.settings.mtu = 1200;
  CHECK(host.Mtu() == "1200/1200");
}

TEST_CASE("underlay: warns of uplinks that IPv6 reaches in fragments only",
          "[underlay]") {
  const EdgeModel model = ModelOf(DualState());
  HostFacts facts = DualFacts();
  facts.uplink_mtus = {{"a", 1440}, {"b", 1216}};
  CHECK(WarningsOfMtu(model, facts) ==
        std::vector<std::string>{
            "the way to uplink b carries packets of 1216 bytes, and IPv6 needs "
            "1280: its larger ones go in fragments, or are lost where those "
            "are dropped"});
  facts.ipv6.overlay.reset();
  CHECK(WarningsOfMtu(model, facts).empty());
  CHECK(WarningsOfMtu(ModelOf(SampleState()), DualFacts()).empty());
}

}  // namespace
}  // namespace edged::edge
