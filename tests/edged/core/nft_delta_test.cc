#include <catch2/catch.hpp>
#include <random>

#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/fake_nftables_client.h"

namespace edged::edge {
namespace {

using protocol::EdgeDelta;

// The canonical text of a rule, without the kernel's codec.
std::string TextOf(const nftables::Rule& rule) { return nftables::Print(rule); }

// An edge with its kernel: applies deltas as the daemon does.
class Edge {
 public:
  Edge() {
    protocol::EdgeState state = SampleState();
    state.mappings = {{Tcp(80), "g1"}, {Udp(5000, 5999), "g1"}};
    model = ModelOf(state);
    marks = *GroupMarks::TakeOver({}, model);
    REQUIRE(kernel.Apply(Missing()).ok());
  }

  // What the kernel lacks of the whole table.
  nftables::Transaction Missing() {
    return nftables::Diff(*kernel.List(kTable),
                          CompileTable(model, marks, facts), TextOf);
  }

  // Judges, compiles, applies, reads back, commits; the nft commands.
  std::string Change(const EdgeDelta& delta) {
    const auto judgement = model.Judge(delta, facts.limits);
    REQUIRE(judgement.ok());
    const EdgeDelta& accepted = judgement->accepted;
    REQUIRE(!NeedsWholeTable(model, accepted));
    REQUIRE(marks.Reserve(accepted).ok());
    const auto transaction = CompileDelta(model, marks, facts, accepted);
    const auto applied = kernel.Apply(transaction);
    INFO(applied.ToString() << "\n" << nftables::Print(transaction));
    REQUIRE(applied.ok());
    for (const auto& touched : Touched(marks, facts, accepted)) {
      const auto found =
          kernel.GetElements(kTable, touched.set, touched.Keys());
      REQUIRE(found.ok());
      CHECK(CheckReadBack(touched, *found) == absl::OkStatus());
    }
    model.Commit(accepted);
    marks.Release(accepted);
    CHECK(nftables::Print(Missing()) == "");
    KernelDigest digest(model, marks, facts);
    digest.Add(*kernel.List(kTable));
    CHECK(digest.digest() == model.digest());
    CHECK(digest.strangers() == 0);
    return nftables::Print(transaction);
  }

  EdgeModel model;
  GroupMarks marks;
  HostFacts facts = SampleFacts();
  nftables::FakeClient kernel{TextOf};
};

TEST_CASE("nft_delta: a mapping is one element", "[nft_delta]") {
  Edge edge;
  CHECK(edge.Change({.mappings = {{Tcp(443), "g1"}}}) == "?");
  CHECK(edge.Change({.mappings = {{Tcp(6000, 6009), "g1"}}}) == "?");
  CHECK(edge.Change({.removed_mappings = {Tcp(443), Tcp(6000, 6009)}}) == "?");
  CHECK(edge.Change({.mappings = {{Tcp(80), "g1"}}}) == "");
}

TEST_CASE("nft_delta: another group is a deletion and an addition in one",
          "[nft_delta]") {
  Edge edge;
  CHECK(edge.Change({.groups = {{.name = "g3",
                                 .public_address = Ip("203.0.113.1"),
                                 .uplinks = {"b"}}},
                     .mappings = {{Tcp(80), "g3"}}}) == "?");
  // The old group can go now, but for the range.
  CHECK(edge.Change({.removed_groups = {"g1"},
                     .mappings = {{Udp(5000, 5999), "g3"}}}) == "?");
}

TEST_CASE("nft_delta: an uplink that comes or goes leaves mappings alone",
          "[nft_delta]") {
  Edge edge;
  edge.facts.health["d"] = Health::kAlive;
  CHECK(edge.Change({.uplinks = {{"d", Key(4), 4}}}) == "?");
  protocol::Group g2 = edge.model.groups().at("g2");
  g2.uplinks = {"d"};
  CHECK(edge.Change({.groups = {g2}}) == "?");
  g2.uplinks = {"a"};
  CHECK(edge.Change({.removed_uplinks = {"d"}, .groups = {g2}}) == "?");
}

TEST_CASE("nft_delta: a block that changes moves its uplink's addresses",
          "[nft_delta]") {
  Edge edge;
  const std::string commands =
      edge.Change({.uplinks = {{"a", Key(1), 2}, {"b", Key(2), 1}}});
  CHECK(commands.find("ports4") == std::string::npos);
  CHECK(commands.find("back4") == std::string::npos);  // the same addresses
  CHECK(commands.find("flush chain inet edged group-g1") != std::string::npos);
  CHECK(commands.find("flush chain inet edged group-g2") != std::string::npos);
}

TEST_CASE("nft_delta: health rewrites the chains that it concerns",
          "[nft_delta]") {
  Edge edge;
  edge.Change({.groups = {{.name = "g3",
                           .public_address = Ip("203.0.113.1"),
                           .uplinks = {"b"}}}});
  const auto change_health = [&](const std::string& uplink, Health health) {
    const UplinkHealth previous = edge.facts.health;
    edge.facts.health[uplink] = health;
    const auto transaction =
        CompileHealthChange(edge.model, edge.facts, previous);
    REQUIRE(edge.kernel.Apply(transaction).ok());
    CHECK(nftables::Print(edge.Missing()) == "");
    std::string chains;
    for (const auto& operation : transaction.operations()) {
      if (const auto* flush = std::get_if<nftables::FlushChain>(&operation)) {
        chains += flush->chain + " ";
      }
    }
    CHECK(transaction.operations().size() <= 6);
    return chains;
  };
  CHECK(change_health("a", Health::kSuspect) == "group-g1 group-g2 ");
  CHECK(change_health("a", Health::kDead) == "");
  CHECK(change_health("b", Health::kSuspect) == "group-g1 group-g2 ");
  CHECK(change_health("b", Health::kDead) == "group-g3 ");
  CHECK(change_health("c", Health::kSuspect) == "");
  CHECK(change_health("c", Health::kDead) == "group-g1 group-g2 ");
  CHECK(change_health("a", Health::kAlive) == "group-g1 group-g2 ");
}

TEST_CASE("nft_delta: public addresses need the whole table", "[nft_delta]") {
  const Edge edge;
  protocol::Settings settings = edge.model.settings();
  settings.mtu = 1300;
  CHECK(!NeedsWholeTable(edge.model, {.settings = settings}));
  settings.public_addresses.push_back(
      {.address = Ip("203.0.113.3"), .index = 3});
  CHECK(NeedsWholeTable(edge.model, {.settings = settings}));
  CHECK(!NeedsWholeTable(edge.model, {}));
}

TEST_CASE("nft_delta: what does not arrive here is not touched",
          "[nft_delta]") {
  Edge edge;
  edge.facts.nic_addresses.erase(Ip("203.0.113.2"));
  REQUIRE(edge.kernel.Apply(edge.Missing()).ok());
  const auto judgement = edge.model.Judge(
      {.mappings = {{At("203.0.113.2", Protocol::kTcp, 80), "g2"}}},
      edge.facts.limits);
  REQUIRE(judgement.ok());
  CHECK(CompileDelta(edge.model, edge.marks, edge.facts, judgement->accepted)
            .empty());
  CHECK(Touched(edge.marks, edge.facts, judgement->accepted).empty());
}

// Any state of up to four groups and uplinks on a few ports.
protocol::EdgeState RandomState(std::mt19937& random) {
  const auto pick = [&](uint32_t below) { return random() % below; };
  protocol::EdgeState state = SampleState();
  state.uplinks.clear();
  state.groups.clear();
  for (const char* name : {"a", "b", "c", "d"}) {
    if (pick(3) == 0) continue;
    const auto number = static_cast<uint8_t>(name[0] - 'a' + 1);
    const uint32_t block = pick(6) == 0 ? number + 10u : number;
    state.uplinks.push_back({name, Key(number), block});
  }
  for (const char* name : {"g1", "g2", "g3", "g4"}) {
    if (pick(4) == 0) continue;
    protocol::Group group{
        .name = name,
        .public_address = Ip(name[1] % 2 == 0 ? "203.0.113.2" : "203.0.113.1"),
        .affinity = pick(2) == 0 ? protocol::Affinity::kNone
                                 : protocol::Affinity::kClientIp};
    for (const auto& uplink : state.uplinks) {
      if (pick(2) == 0) group.uplinks.push_back(uplink.name);
    }
    state.groups.push_back(group);
  }
  for (int i = 0; i < 12 && !state.groups.empty(); ++i) {
    const auto& group = state.groups[pick(state.groups.size())];
    const auto first = static_cast<uint16_t>(1000 + pick(40));
    const auto last =
        static_cast<uint16_t>(first + (pick(3) == 0 ? pick(9) : 0));
    state.mappings.push_back({{group.public_address,
                               pick(2) == 0 ? Protocol::kTcp : Protocol::kUdp,
                               {first, last}},
                              group.name});
  }
  return state;
}

TEST_CASE("nft_delta: any way from state to state ends in its whole table",
          "[nft_delta]") {
  std::mt19937 random(20240607);
  Edge edge;
  edge.facts.health["d"] = Health::kAlive;
  for (int i = 0; i < 200; ++i) {
    const auto wanted = RandomState(random);
    const auto judgement = edge.model.JudgeSnapshot(wanted, edge.facts.limits);
    INFO(judgement.status().ToString());
    REQUIRE(judgement.ok());
    edge.Change(judgement->accepted);
  }
}

TEST_CASE("readback: reads a mapping out of an element", "[readback]") {
  const Edge edge;
  const Readback readback(edge.marks, edge.facts);
  const protocol::Listener listener =
      At("203.0.113.2", Protocol::kUdp, 600, 700);
  auto element = ElementOf(listener, edge.marks.MarkOf("g2"), edge.facts);
  CHECK(*readback.MappingOf(element) == protocol::Mapping{listener, "g2"});

  element.data = nftables::MarkBytes(0x17);
  CHECK(readback.MappingOf(element).status().ToString() ==
        "NOT_FOUND: 10.0.0.7 udp/600-700 : 0x00000017: no such public address "
        "or group");
  element.data.clear();
  CHECK(readback.MappingOf(element).status().ToString() ==
        "INVALID_ARGUMENT: an element of 12 bytes is not a mapping");
  for (size_t size = 0; size < element.key.size(); ++size) {
    nftables::Element cut{
        .key = {element.key.begin(), element.key.begin() + size},
        .data = nftables::MarkBytes(0xed000100)};
    CHECK(!readback.MappingOf(cut).ok());
  }
}

TEST_CASE("readback: says what the kernel has otherwise than was written",
          "[readback]") {
  const Edge edge;
  const EdgeDelta delta{.removed_mappings = {Udp(5000, 5999)},
                        .mappings = {{Tcp(80), "g1"}}};
  auto touched = Touched(edge.marks, edge.facts, delta);
  REQUIRE(touched.size() == 2);
  CHECK(CheckReadBack(touched[0], {}).ToString() ==
        "ABORTED: 203.0.113.1 tcp/80 was written and is not there");
  auto found = touched[0].written;
  CHECK(CheckReadBack(touched[0], found).ok());
  found[0].data = nftables::MarkBytes(0xed000700);
  CHECK(CheckReadBack(touched[0], found).ToString() ==
        "ABORTED: 203.0.113.1 tcp/80 was written and has another group");
  CHECK(CheckReadBack(touched[1], touched[1].removed).ToString() ==
        "ABORTED: 203.0.113.1 udp/5000-5999 was removed and is still there");
}

TEST_CASE("readback: counts what nobody wants", "[readback]") {
  Edge edge;
  KernelDigest digest(edge.model, edge.marks, edge.facts);
  digest.Add(*edge.kernel.List(kTable));
  CHECK(digest.mappings() == 2);
  CHECK(digest.strangers() == 0);
  digest.Add(ElementOf(Tcp(99), 0xed00ff00, edge.facts));
  CHECK(digest.strangers() == 1);
  CHECK(digest.digest() == edge.model.digest());
}

TEST_CASE("readback: finds the interfaces that were switched on",
          "[readback]") {
  Edge edge;
  CHECK(SwitchedInterfacesOf(*edge.kernel.List(kTable)).empty());
  CHECK(SwitchedInterfacesOf({}).empty());
  edge.facts.switched_interfaces = {"eth0", "a-long-name-123"};
  REQUIRE(edge.kernel.Apply(edge.Missing()).ok());
  CHECK(SwitchedInterfacesOf(*edge.kernel.List(kTable)) ==
        edge.facts.switched_interfaces);
}

}  // namespace
}  // namespace edged::edge
