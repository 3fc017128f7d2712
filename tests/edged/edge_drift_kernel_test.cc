// Somebody else changes what an edge has made.

#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "tests/edged/blind_loop.h"
#include "tests/edged/edge_on_host.h"

namespace edged::edge {
namespace {

// Sockets of somebody else on the same host.
struct Stranger {
  std::unique_ptr<nftables::Client> nft = *nftables::Client::Open();
  netlink::Rtnetlink rtnetlink = *netlink::Rtnetlink::Open();
};

// "nf_tables: table deleted; 3 changes: ...", one a line, without who and how
// long.
std::string Told(const Host& host) {
  std::string text;
  for (const EdgeEvent& event : host.told) {
    if (const auto* drift = std::get_if<Drift>(&event.what)) {
      text += fmt::format("{}: {}; {}{}\n", ToString(drift->part), drift->what,
                          drift->repair, drift->error);
    } else {
      text += std::get<Flood>(event.what).over ? "flood is over\n" : "flood\n";
    }
  }
  return text;
}

}  // namespace

TEST_CASE("edge: a table that somebody deletes is made again", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  const auto sets = host->Table().sets;
  Stranger stranger;
  nftables::Transaction removal(kTable);
  removal.Add(nftables::DeleteTable{});
  REQUIRE(stranger.nft->Apply(removal).ok());
  host->Run(milliseconds(50));
  CHECK(host->Table().sets == sets);
  REQUIRE(host->told.size() == 1);
  const auto& drift = std::get<Drift>(host->told[0].what);
  CHECK(drift.part == DriftPart::kTable);
  CHECK(drift.what == "table deleted");
  CHECK(drift.by.pid == static_cast<uint32_t>(getpid()));
  CHECK(drift.by.port == stranger.nft->port());
  CHECK_THAT(drift.repair, Catch::Contains("add table inet edged"));
  CHECK(drift.error == "");
}

TEST_CASE("edge: one element that somebody deletes is added, and no more",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(milliseconds(20));  // the kernel's echo of our own changes
  Stranger stranger;
  const nftables::Set set = PortsSet(Family::kIpv4);
  nftables::Transaction removal(kTable);
  removal.Add(
      nftables::DeleteElements{set, host->Table().sets.at(set.name).elements});
  REQUIRE(stranger.nft->Apply(removal).ok());
  host->Run(milliseconds(50));
  CHECK(Told(*host) ==
        "nf_tables: 1 element of ports4 deleted; 1 change: add element inet "
        "edged ports4 { 203.0.113.1 . tcp . 80 : 0xed000100 }\n");
  CHECK(ListenersOf(*synced.edge) == "203.0.113.1 tcp/80; ");
}

TEST_CASE("edge: an address and a route that somebody removes come back",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(milliseconds(20));  // the kernel's echo of our own changes
  Stranger stranger;
  const auto device = stranger.rtnetlink.GetLink(kDevice);
  REQUIRE(device.ok());
  REQUIRE(stranger.rtnetlink
              .RemoveRoute(
                  {.destination = Net("10.200.0.16/28"), .link = device->index})
              .ok());
  host->Run(milliseconds(50));
  CHECK(Told(*host) ==
        "network: removed: route 10.200.0.16/28 table 254 protocol 237; + "
        "route 10.200.0.16/28 dev edged0\n");
  host->told.clear();
  REQUIRE(stranger.rtnetlink
              .RemoveAddress({.link = device->index,
                              .address = Ip("10.200.0.1"),
                              .prefix_length = 32})
              .ok());
  host->Run(milliseconds(50));
  CHECK_THAT(Told(*host),
             Catch::Contains("+ address 10.200.0.1/32 dev edged0"));
}

TEST_CASE("edge: what a repair switches on is in the state file", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  constexpr char kForwarding[] = "/proc/sys/net/ipv4/ip_forward";
  if (access(kForwarding, W_OK) != 0) {
    std::cout << "SKIPPED: /proc/sys is read-only\n";
    return;
  }
  std::ofstream(kForwarding) << "1";
  Synced synced(*host);
  host->Run(milliseconds(50));
  REQUIRE(host->store.Load()->switched_interfaces.empty());
  std::ofstream(kForwarding) << "0";
  host->Run(milliseconds(150));
  CHECK(host->rtnetlink->GetLink("eth0")->ipv4.forwarding);
  CHECK(host->store.Load()->switched_interfaces ==
        std::set<std::string>{"eth0"});
}

TEST_CASE("edge: a repair that fails is tried until it succeeds", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(milliseconds(20));  // the kernel's echo of our own changes
  Stranger stranger;
  nftables::Transaction removal(kTable);
  removal.Add(nftables::DeleteTable{});
  host->nft->FailNext(Unavailable("no buffer"));
  REQUIRE(stranger.nft->Apply(removal).ok());
  host->Run(milliseconds(200));
  REQUIRE(host->told.size() == 1);
  CHECK_THAT(Told(*host), Catch::StartsWith("nf_tables: table deleted; "));
  CHECK(ListenersOf(*synced.edge) == "203.0.113.1 tcp/80; ");
}

TEST_CASE("edge: what was changed unseen is found by the audit", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  auto* loop = new BlindLoop(std::move(host->loop));
  host->loop.reset(loop);
  Synced synced(*host);
  Stranger stranger;
  const nftables::Set set = PortsSet(Family::kIpv4);
  nftables::Transaction removal(kTable);
  removal.Add(
      nftables::DeleteElements{set, host->Table().sets.at(set.name).elements});
  REQUIRE(stranger.nft->Apply(removal).ok());
  host->Run(milliseconds(1200));
  CHECK(ListenersOf(*synced.edge) == "");
  CHECK(Told(*host) == "");
  loop->LetMinutesPass();
  host->Run(milliseconds(100));
  CHECK(ListenersOf(*synced.edge) == "203.0.113.1 tcp/80; ");
  CHECK(Told(*host) ==
        "nf_tables: an audit found other mappings than were written; 1 change: "
        "add element inet edged ports4 { 203.0.113.1 . tcp . 80 : 0xed000100 "
        "}\n");
  loop->LetMinutesPass();
  host->Run(milliseconds(100));
  CHECK(host->told.size() == 1);
}

TEST_CASE("edge: a flood of strange changes does not take the loop", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(milliseconds(20));  // the kernel's echo of our own changes
  Stranger stranger;
  const nftables::Set set = ReservedSet();
  nftables::Element port;
  port.key = nftables::Concat(
      {nftables::ToBytes(Protocol::kTcp), nftables::PortBytes(9)});
  int changes = 0;
  int ticks = 0;
  const auto disturb = host->loop->Every(milliseconds(2), [&] {
    nftables::Transaction strange(kTable);
    strange.Add(nftables::AddElements{set, {port}});
    if (stranger.nft->Apply(strange).ok()) ++changes;
  });
  const auto tick = host->loop->Every(milliseconds(10), [&] { ++ticks; });
  const int before = host->nft->applied();
  host->Run(milliseconds(3000));
  CHECK(changes > 500);
  CHECK(ticks > 200);
  CHECK(host->nft->applied() - before < 130);
  CHECK_THAT(Told(*host), Catch::EndsWith("\nflood\n"));
  CHECK(host->told.size() < 80);
  CHECK_THAT(StatusOf(*synced.edge).warnings,
             Catch::VectorContains(std::string(fmt::format(
                 "edged_daemon_ke (pid {}) changes what is ours faster than it "
                 "is repaired",
                 getpid()))));
  host->loop->Cancel(disturb);
  host->Run(milliseconds(3000));
  host->loop->Cancel(tick);
  CHECK_THAT(Told(*host), Catch::EndsWith("\nflood\nflood is over\n"));
  CHECK(host->Table().sets.at(set.name).elements.size() == 2);
  CHECK(StatusOf(*synced.edge).warnings.empty());
}

}  // namespace edged::edge
