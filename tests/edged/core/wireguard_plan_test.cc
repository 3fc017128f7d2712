#include "edged/core/wireguard_plan.h"

#include <catch2/catch.hpp>

#include "common/wireguard/diff.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

std::string Shown(const wireguard::Device& device) {
  std::string text =
      device.name + " listens on " + std::to_string(device.listen_port) + "\n";
  for (const auto& peer : device.peers) {
    text += peer.key.Short();
    for (const auto& prefix : peer.allowed_ips) text += " " + prefix.ToString();
    if (peer.endpoint) text += " at " + peer.endpoint->ToString();
    if (peer.keepalive_seconds != 0) text += " keepalive";
    text += "\n";
  }
  return text;
}

TEST_CASE("wireguard_plan: one block for each uplink, one address for control",
          "[wireguard_plan]") {
  const TunnelIdentity identity{.key = PrivateKey::Generate(),
                                .control_key = Key(9)};
  const EdgeModel model = ModelOf(SampleState());
  const auto device =
      WantedDevice(identity, model, SampleFacts(),
                   {{Key(2), *SocketAddress::Parse("198.51.100.7:40000")},
                    {Key(7), *SocketAddress::Parse("198.51.100.8:1")}});
  CHECK(Shown(device) ==
        "edged0 listens on 51820\n"
        "AQEBAQEB 10.200.0.16/28\n"
        "AgICAgIC 10.200.0.32/28 at 198.51.100.7:40000\n"
        "AwMDAwMD 10.200.0.48/28\n"
        "CQkJCQkJ 10.200.0.2/32\n");
  CHECK(device.private_key == identity.key);
}

TEST_CASE("wireguard_plan: endpoints that roam are no change",
          "[wireguard_plan]") {
  const TunnelIdentity identity{.key = PrivateKey::Generate(),
                                .control_key = Key(9)};
  const EdgeModel model = ModelOf(SampleState());
  const auto wanted =
      WantedDevice(identity, model, SampleFacts(),
                   {{Key(2), *SocketAddress::Parse("198.51.100.7:40000")}});
  auto observed = wanted;
  observed.peers[1].endpoint = *SocketAddress::Parse("198.51.100.7:40001");
  observed.peers[0].endpoint = *SocketAddress::Parse("198.51.100.9:5");
  CHECK(wireguard::Diff(observed, wanted).empty());
}

TEST_CASE("wireguard_plan: silent peers are made anew", "[wireguard_plan]") {
  const EdgeModel model = ModelOf(SampleState());
  const auto wanted =
      WantedDevice({.key = PrivateKey::Generate(), .control_key = Key(9)},
                   model, SampleFacts(),
                   {{Key(1), *SocketAddress::Parse("198.51.100.6:40000")},
                    {Key(2), *SocketAddress::Parse("198.51.100.7:40000")}});
  auto observed = wanted;
  observed.peers[0].last_handshake = std::chrono::system_clock::now();
  CHECK(SilentPeersAnew(observed, wanted).ToString() ==
        "peer AgICAgIC removed\n"
        "peer AgICAgIC new: endpoint 198.51.100.7:40000, allowed ips "
        "10.200.0.32/28, keepalive 0 s\n");
}

TEST_CASE("wireguard_plan: without a control key there is no control peer",
          "[wireguard_plan]") {
  const auto device = WantedDevice({.key = PrivateKey::Generate()}, EdgeModel(),
                                   SampleFacts(), {});
  CHECK(Shown(device) == "edged0 listens on 51820\n");
}

TEST_CASE("wireguard_plan: each uplink has a block of either family",
          "[wireguard_plan]") {
  const wireguard::Device device =
      WantedDevice({}, ModelOf(DualState()), DualFacts(), {});
  REQUIRE(device.peers.size() == 3);
  CHECK(device.peers[0].allowed_ips ==
        std::vector<IpPrefix>{Net("10.200.0.16/28"),
                              Net("fd00:ed:0:0:400::/70")});
}

}  // namespace
}  // namespace edged::edge
