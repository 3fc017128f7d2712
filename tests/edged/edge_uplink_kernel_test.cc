// What an edge hears from its uplinks.

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "tests/common/captured_log.h"
#include "tests/edged/blind_loop.h"
#include "tests/edged/edge_on_host.h"
#include "tests/edged/uplink_on_wire.h"

namespace edged::edge {
namespace {

// What WireGuard does when a packet of uplink a comes from elsewhere.
void Roam(Host& host, uint16_t port) {
  wireguard::PeerChange peer{.key = Key(1)};
  peer.endpoint = SocketAddress{Ip("203.0.113.9"), port};
  REQUIRE(host.wireguard->Apply(kDevice, {.changed_peers = {peer}}).ok());
}

bool IsAlive(const Edge& edge) {
  return StatusOf(edge).uplinks.at(0).life.alive;
}

}  // namespace

TEST_CASE("edge: who roams and changes its mind all the time is judged in pace",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  UplinkOnWire uplink(*host);
  host->Run(milliseconds(50));
  protocol::Heartbeat heartbeat{.ready = true};
  uplink.Send(heartbeat);
  host->Run(milliseconds(50));
  REQUIRE(IsAlive(*synced.edge));

  bool ended = false;
  const std::function<void()> change_all = [&] {
    if (ended) return;
    heartbeat.ready = !heartbeat.ready;
    uplink.Send(heartbeat);
    Roam(*host, heartbeat.ready ? 1000 : 1001);
    host->loop->After({}, change_all);
  };
  const int before = host->nft->applied();
  change_all();
  host->Run(milliseconds(500));
  ended = true;
  const int judgements = host->nft->applied() - before;
  CHECK(judgements > 5);
  CHECK(judgements <= 110);     // one in 5 ms at most
  host->Run(milliseconds(10));  // the last of change_all
}

TEST_CASE("edge: hears uplinks on a device that following the MTU made again",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  // The event of the removal comes late.
  host->loop = std::make_unique<BlindLoop>(std::move(host->loop));
  Synced synced(*host);
  host->Run(milliseconds(50));
  REQUIRE(host->rtnetlink->DeleteLink(kDevice).ok());
  Roam(*host, 1000);
  host->Run(milliseconds(600));
  UplinkOnWire uplink(*host);
  uplink.Send({.ready = true});
  host->Run(milliseconds(50));
  CHECK(IsAlive(*synced.edge));
}

TEST_CASE("edge: a change of the MTU is in the log once", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  // A route that somebody changes is seen with the next look alone.
  host->loop = std::make_unique<BlindLoop>(std::move(host->loop));
  Synced synced(*host);
  UplinkOnWire uplink(*host);
  Roam(*host, 1000);
  host->Run(milliseconds(1'100));
  CapturedLog log;
  const auto follow = [&](uint32_t mtu) {
    log.Take();
    uplink.Send(protocol::PathProbe{.uplink_mtu = mtu});
    host->Run(milliseconds(50));
    return log.Take();
  };
  const std::string told =
      "info: MTU: + route 10.200.0.16/28 dev edged0 mtu 1300\n";
  CHECK(follow(1300) == told);
  CHECK(follow(1300) == "");

  const auto device = host->rtnetlink->GetLink(kDevice);
  const auto mtu_of_route = [&] {
    return host->rtnetlink->Match({.destination = Ip("10.200.0.17")})->mtu;
  };
  REQUIRE(host->rtnetlink
              ->ReplaceRoute(
                  {.destination = Net("10.200.0.16/28"), .link = device->index})
              .ok());
  REQUIRE(mtu_of_route() == 0);
  Roam(*host, 1001);  // the way to the uplink may have another MTU
  host->Run(milliseconds(1'100));
  CHECK(mtu_of_route() == 1300);
  CHECK_THAT(log.Take(), !Catch::Contains("MTU"));
  CHECK_THAT(follow(1280), Catch::Contains("mtu 1280"));
}

}  // namespace edged::edge
