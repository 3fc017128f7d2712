// What agents ask of an edge, and what becomes of it.

#include <catch2/catch.hpp>
#include <cerrno>

#include "common/netlink/kernel_error.h"
#include "edged/core/readback.h"
#include "tests/edged/edge_on_host.h"

namespace edged::edge {
namespace {

TEST_CASE("edge: register, open, snapshot, delta", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  const auto edge = host->NewEdge();
  CHECK(host->PeerCount() == 1);  // the control peer
  CHECK(edge->api_address()->ToString() == "10.200.0.1:7443");
  REQUIRE(
      edge->Register({.epoch = {"x", 1}, .uplink = SampleState().uplinks[0]}) ==
      absl::OkStatus());
  CHECK(host->PeerCount() == 2);

  Stream& stream = host->NewStream();
  const auto welcome = edge->Open({.epoch = {"x", 1}}, stream);
  REQUIRE(welcome.status() == absl::OkStatus());
  CHECK(welcome->reserved_ports == std::vector<std::string>{"22/tcp"});
  SyncResult result = edge->Change(stream, Snapshot(1, {Tcp(80), Udp(53)}));
  CHECK(WordsOf(result) == "ACK");
  CHECK(result.digest == protocol::DigestOf(Wanted({Tcp(80), Udp(53)})));
  CHECK(host->PeerCount() == 4);
  CHECK(ListenersOf(*edge) == "203.0.113.1 tcp/80; 203.0.113.1 udp/53; ");

  result = edge->Change(stream, Upsert(1, 2, Tcp(1000, 1999)));
  CHECK(WordsOf(result) == "ACK");
  CHECK(result.digest ==
        protocol::DigestOf(Wanted({Tcp(80), Tcp(1000, 1999), Udp(53)})));
  CHECK(ListenersOf(*edge) ==
        "203.0.113.1 tcp/80; 203.0.113.1 tcp/1000-1999; 203.0.113.1 udp/53; ");
  CHECK(StatusOf(*edge).mapping_count == 3);
  CHECK(StatusOf(*edge).applied_version == 2);
}

TEST_CASE("edge: a version that does not follow is a NACK", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  const auto before = host->Table();
  const auto change = [&synced](ChangeCall call) {
    return WordsOf(synced.edge->Change(synced.stream, std::move(call)));
  };
  CHECK(change(Upsert(5, 6, Tcp(81))) ==
        "NACK FAILED_PRECONDITION: base_version 5: this edge has version 1; "
        "send a snapshot");
  CHECK(change(Upsert(1, 1, Tcp(81))) ==
        "NACK INVALID_ARGUMENT: version 1: is not above 1");
  CHECK(change(Snapshot(1, {})) ==
        "NACK INVALID_ARGUMENT: version 1: is not above 1");
  Stream& stranger = host->NewStream();
  CHECK(WordsOf(synced.edge->Change(stranger, Upsert(1, 2, Tcp(81)))) ==
        "NACK ABORTED: another stream took over");
  CHECK(host->Table() == before);
  CHECK(change(Upsert(1, 2, Tcp(81))) == "ACK");
}

TEST_CASE("edge: a refused mapping is refused alone", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  CHECK(WordsOf(synced.edge->Change(
            synced.stream, Snapshot(2, {Tcp(22), Tcp(80), Udp(51820)}))) ==
        "ACK; ReservedPort 203.0.113.1 tcp/22; TunnelPort 203.0.113.1 "
        "udp/51820");
  CHECK(ListenersOf(*synced.edge) == "203.0.113.1 tcp/80; ");
  CHECK(StatusOf(*synced.edge).refused.size() == 2);
}

TEST_CASE("edge: a change that makes no sense changes nothing", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  const auto before = host->Table();
  DeltaCall call = Upsert(1, 2, Tcp(81));
  call.delta.uplinks = {{"d", Key(4), 99}};
  CHECK(WordsOf(synced.edge->Change(synced.stream, call)) ==
        "NACK INVALID_ARGUMENT: uplink d has block 99: 1 to 63 exist");
  CHECK(host->Table() == before);
}

TEST_CASE("edge: epochs and owners are judged at every door", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  const auto edge = host->NewEdge();
  Stream& stream = host->NewStream();
  REQUIRE(edge->Open({.epoch = {"x", 7}}, stream).ok());
  Stream& other = host->NewStream();
  CHECK_THAT(
      std::string(Message(edge->Open({.epoch = {"x", 6}}, other).status())),
      Catch::StartsWith("epoch 6 is older than 7"));
  CHECK_THAT(std::string(Message(edge->Register(
                 {.epoch = {"y", 9}, .uplink = SampleState().uplinks[0]}))),
             Catch::StartsWith("this edge belongs to cluster x, not to y"));
  CHECK(!stream.ended);  // whoever is refused takes nothing over
  REQUIRE(edge->Open({.epoch = {"x", 7}}, other).ok());
  REQUIRE(stream.ended);
  CHECK(absl::IsAborted(*stream.ended));
}

TEST_CASE("edge: a second edge restores the first without a change", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  {
    Synced synced(*host);
    REQUIRE(WordsOf(synced.edge->Change(
                synced.stream, Upsert(1, 2, Udp(5000, 5999)))) == "ACK");
    host->Run(milliseconds(700));
    synced.edge->Close(synced.stream);
    CHECK(host->store.Load()->state.mappings.size() == 2);
    CHECK(host->store.Load()->epoch == Epoch{"x", 1});
  }
  // Suspected and dead uplinks leave their groups; right after a start all of
  // them count as alive: that first change is of the health, not a restart's.
  const auto before = host->Table();
  const int wireguard_changes = host->wireguard->applied();
  const auto edge = host->NewEdge();
  const auto after = host->Table();
  CHECK(after.sets == before.sets);
  for (const auto& [name, chain] : before.chains) {
    if (!GroupOfChain(name).empty()) continue;
    INFO(name);
    CHECK(after.chains.at(name) == chain);  // handles and all
  }
  CHECK(host->wireguard->applied() == wireguard_changes);
  CHECK(ListenersOf(*edge) ==
        "203.0.113.1 tcp/80; 203.0.113.1 udp/5000-5999; ");
  CHECK(StatusOf(*edge).epoch == Epoch{"x", 1});

  // And a third one finds nothing at all to do.
  const int changes = host->nft->applied();
  const auto third = host->NewEdge();
  CHECK(host->nft->applied() == changes);
  CHECK(host->Table() == after);
}

TEST_CASE("edge: guards what it switched on, also when the table is gone",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  REQUIRE(*host->rtnetlink->ForwardingEverywhere(Family::kIpv4) == false);
  const std::set<std::string> eth0{"eth0"};
  {
    const Synced synced(*host);
    host->Run(milliseconds(50));
    CHECK(SwitchedInterfacesOf(host->Table(), Family::kIpv4) == eth0);
    CHECK(host->store.Load()->switched_interfaces == eth0);
  }
  nftables::Transaction removal(kTable);
  removal.Add(nftables::DeleteTable{});
  REQUIRE(host->nft->Apply(removal).ok());
  const auto edge = host->NewEdge();
  CHECK(SwitchedInterfacesOf(host->Table(), Family::kIpv4) == eth0);
  host->Run(milliseconds(50));
  CHECK(host->store.Load()->switched_interfaces == eth0);
}

TEST_CASE("edge: a failed apply leaves the last good state", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  const auto before = host->Table();
  host->nft->FailNext(Unavailable("no buffer"));
  CHECK(WordsOf(synced.edge->Change(synced.stream, Upsert(1, 2, Tcp(81)))) ==
        "NACK UNAVAILABLE: no buffer");
  CHECK(host->Table() == before);
  host->Run(milliseconds(100));  // observes again
  CHECK(host->Table().sets == before.sets);
  CHECK(WordsOf(synced.edge->Change(synced.stream, Upsert(1, 2, Tcp(81)))) ==
        "ACK");
  CHECK(ListenersOf(*synced.edge) ==
        "203.0.113.1 tcp/80; 203.0.113.1 tcp/81; ");
}

TEST_CASE("edge: removed, it leaves nothing behind", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  REQUIRE(synced.edge->Remove() == absl::OkStatus());
  CHECK(!host->Table().exists);
  CHECK(absl::IsNotFound(host->rtnetlink->GetLink(kDevice).status()));
  CHECK(*host->store.Load() == StoredState());
}

TEST_CASE("edge: a forgotten owner and epoch let another cluster in",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  { const Synced synced(*host); }
  const auto edge = host->NewEdge(/*owner=*/"");
  edge->ForgetEpoch();
  Stream& stream = host->NewStream();
  CHECK(edge->Open({.epoch = {"y", 1}}, stream).status() == absl::OkStatus());
  CHECK(StatusOf(*edge).cluster_uid == "y");
}

TEST_CASE("edge: a delta forgets no other refusal", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  REQUIRE(WordsOf(synced.edge->Change(synced.stream,
                                      Snapshot(2, {Tcp(22), Tcp(80)}))) ==
          "ACK; ReservedPort 203.0.113.1 tcp/22");
  REQUIRE(WordsOf(synced.edge->Change(synced.stream, Upsert(2, 3, Tcp(81)))) ==
          "ACK");
  CHECK(StatusOf(*synced.edge).refused.size() == 1);
  DeltaCall removal{.base_version = 3, .version = 4};
  removal.delta.removed_mappings = {Tcp(22)};
  REQUIRE(WordsOf(synced.edge->Change(synced.stream, removal)) == "ACK");
  CHECK(StatusOf(*synced.edge).refused.empty());
}

TEST_CASE("edge: a NACK means that nothing was applied", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->wireguard->FailNext(Unavailable("no answer"));
  protocol::EdgeState state = Wanted({Tcp(80), Tcp(81)});
  state.uplinks[0].key = Key(77);
  const auto result =
      synced.edge->Change(synced.stream, SnapshotCall{2, state});
  CHECK(WordsOf(result) == "NACK UNAVAILABLE: device edged0: no answer");
  CHECK(result.digest == StatusOf(*synced.edge).digest);
  CHECK(ListenersOf(*synced.edge) == "203.0.113.1 tcp/80; ");
}

TEST_CASE(
    "edge: without a state file, a known uplink's Register changes nothing",
    "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  { const Synced synced(*host); }
  REQUIRE(host->store.Remove().ok());
  const auto edge = host->NewEdge();
  CHECK(edge->api_address().has_value());
  const protocol::Uplink known = Wanted({Tcp(80)}).uplinks[0];
  REQUIRE(edge->Register({.epoch = {"x", 2}, .uplink = known}) ==
          absl::OkStatus());
  CHECK(host->Table().sets.at("ports4").elements.size() == 1);
}

TEST_CASE("edge: without a state file a snapshot is applied by difference",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  { const Synced synced(*host); }
  REQUIRE(host->store.Remove().ok());
  const auto before = host->Table();
  const auto edge = host->NewEdge();
  CHECK(host->Table() == before);
  Stream& stream = host->NewStream();
  REQUIRE(edge->Open({.epoch = {"x", 2}}, stream).ok());
  const auto result = edge->Change(stream, Snapshot(1, {Tcp(80)}));
  CHECK(WordsOf(result) == "ACK");
  CHECK(result.digest == protocol::DigestOf(Wanted({Tcp(80)})));
  CHECK(host->Table().sets == before.sets);
}

TEST_CASE("edge: a damaged state file is told and kept aside", "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  { const Synced synced(*host); }
  REQUIRE(WriteFileAtomically(host->folder / "state", "rubbish").ok());
  const auto edge = host->NewEdge();
  CHECK(*ReadFile(host->folder / "state.damaged") == "rubbish");
  REQUIRE(StatusOf(*edge).warnings.size() == 1);
  CHECK_THAT(StatusOf(*edge).warnings[0], Catch::Contains("cannot be used"));
  Stream& stream = host->NewStream();
  REQUIRE(edge->Open({.epoch = {"x", 2}}, stream).ok());
  REQUIRE(WordsOf(edge->Change(stream, Snapshot(1, {Tcp(80)}))) == "ACK");
  CHECK(StatusOf(*edge).mapping_count == 1);
}

// Starts an edge with `stored` on its disk; its warnings.
std::string WarningsWith(Host& host, const StoredState& stored) {
  REQUIRE(host.store.Save(stored).ok());
  const auto edge = host.NewEdge();
  CHECK(StatusOf(*edge).mapping_count == 0);
  CHECK(*StateStore(host.folder.path()).Load() != stored);
  Stream& stream = host.NewStream();
  REQUIRE(edge->Open({.epoch = {"x", 2}}, stream).ok());
  REQUIRE(WordsOf(edge->Change(stream, Snapshot(1, {Tcp(80)}))) == "ACK");
  return fmt::format("{}", fmt::join(StatusOf(*edge).warnings, "; "));
}

TEST_CASE("edge: the state of another enrolment is told and kept aside",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  { const Synced synced(*host); }
  const StoredState good = *host->store.Load();
  REQUIRE(good.network);
  const std::string kept = "; kept as " + (host->folder / "state.damaged");
  StoredState other = good;
  other.epoch->cluster_uid = "other";
  CHECK_THAT(
      WarningsWith(*host, other),
      Catch::StartsWith("the stored state is of cluster other, not of "));
  other = good;
  other.network = *IpPrefix::Parse("10.99.0.0/22");
  CHECK(WarningsWith(*host, other) ==
        "the stored state is of network 10.99.0.0/22, not of " +
            good.network->ToString() + kept);
}

// tcp/80 as it is, and udp/53 with a session timeout of its own.
SnapshotCall TimedSnapshot(uint64_t version) {
  SnapshotCall call = Snapshot(version, {Tcp(80)});
  protocol::Group timed = call.state.groups[0];
  timed.name = "timed";
  timed.timeouts.udp_session = std::chrono::seconds(30);
  call.state.groups.push_back(timed);
  call.state.mappings.push_back({Udp(53), "timed"});
  return call;
}

TEST_CASE("edge: a timeout is written with its mapping and goes with it",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  CHECK(WordsOf(synced.edge->Change(synced.stream, TimedSnapshot(2))) == "ACK");
  const auto timeouts = host->Table().timeouts;
  REQUIRE(timeouts.size() == 1);
  CHECK(timeouts.contains("udp-30"));
  // Other edges on the same kernel find nothing to write, but for the health
  // that a start brings.
  synced.edge.reset();
  host->NewEdge().reset();
  const int applied = host->nft->applied();
  const auto table = host->Table();
  const auto second = host->NewEdge();
  CHECK(host->Table() == table);
  CHECK(ListenersOf(*second) == "203.0.113.1 tcp/80; 203.0.113.1 udp/53; ");
  CHECK(host->nft->applied() == applied + 1);  // the question for timeouts
  Stream& stream = host->NewStream();
  REQUIRE(second->Open({.epoch = {"x", 1}}, stream).ok());
  CHECK(WordsOf(second->Change(stream, Snapshot(3, {Tcp(80)}))) == "ACK");
  CHECK(host->Table().timeouts.empty());
}

TEST_CASE("edge: a kernel without timeouts refuses who has one, alone",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->nft->FailNext(
      netlink::KernelErrorStatus({ENOENT, "", 0, 0}, "add ct timeout"));
  CHECK(WordsOf(synced.edge->Change(synced.stream, TimedSnapshot(2))) ==
        "ACK; TimeoutsNotAvailable 203.0.113.1 udp/53");
  CHECK(ListenersOf(*synced.edge) == "203.0.113.1 tcp/80; ");
}

}  // namespace
}  // namespace edged::edge
