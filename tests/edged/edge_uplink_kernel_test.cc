// What an edge hears from its uplinks.

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <utility>

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

}  // namespace edged::edge
