#include "edged/core/drift_table.h"

#include <catch2/catch.hpp>
#include <random>

#include "common/drift/repair_text.h"
#include "common/nftables/print.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"
#include "tests/edged/core/edge_on_kernel.h"
#include "tests/fakes/fake_nftables_client.h"

namespace edged::edge {
namespace {

using nftables::Element;
using nftables::Event;
using nftables::EventKind;
using nftables::EventObject;
using nftables::Transaction;

// Somebody else's changes, and the events that the kernel makes of them.
class Stranger {
 public:
  explicit Stranger(EdgeOnKernel& edge) : edge_(edge) {}

  void Delete(const nftables::Set& set, const Element& element) {
    Make(nftables::DeleteElements{set, {element}});
    Tell(EventKind::kDeleted, set.name, element);
  }
  void Add(const nftables::Set& set, const Element& element) {
    Make(nftables::AddElements{set, {element}});
    Tell(EventKind::kAdded, set.name, element);
  }
  void Flush(const std::string& chain) {
    Make(nftables::FlushChain{chain});
    damage.Add({.kind = EventKind::kDeleted,
                .object = EventObject::kRule,
                .table = kTable,
                .name = chain});
  }

  // The nft commands that put it right; "whole" when that is not enough.
  std::string Repair() {
    const auto repair =
        PlanPartialRepair(edge_.model, edge_.marks, edge_.facts, damage);
    damage = TableDamage();
    if (!repair) return "whole";
    std::vector<std::vector<Element>> found;
    for (const DamagedElements& part : repair->elements) {
      found.push_back(*edge_.kernel.GetElements(kTable, part.set, part.keys));
    }
    const Transaction change = CompileRepair(*repair, found);
    REQUIRE(edge_.kernel.Apply(change) == absl::OkStatus());
    CHECK(nftables::Print(edge_.Missing()) == "");
    return nftables::Print(change);
  }

  TableDamage damage;

 private:
  void Make(nftables::Operation operation) {
    Transaction transaction(kTable);
    transaction.Add(std::move(operation));
    REQUIRE(edge_.kernel.Apply(transaction) == absl::OkStatus());
  }
  void Tell(EventKind kind, const std::string& set, const Element& element) {
    damage.Add({.kind = kind,
                .object = EventObject::kElements,
                .table = kTable,
                .name = set,
                .elements = {element}});
  }

  EdgeOnKernel& edge_;
};

struct Scene {
  nftables::FakeClient kernel;
  EdgeOnKernel edge{kernel};
  Stranger stranger{edge};
  const nftables::Set ports = PortsSet(Family::kIpv4);
  const nftables::Set ranges = RangesSet(Family::kIpv4);

  Element At(const protocol::Listener& listener, uint32_t mark = 0) {
    if (mark == 0) mark = edge.marks.MarkOf("g1");
    return ElementOf(listener, mark, edge.facts);
  }
};

}  // namespace

TEST_CASE("drift_table: a deleted mapping is added again", "[drift_table]") {
  Scene scene;
  scene.stranger.Delete(scene.ports, scene.At(Tcp(80)));
  CHECK(scene.stranger.Repair() ==
        "add element inet edged ports4 { 203.0.113.1 . tcp . 80 : 0xed000100 "
        "}\n");
  scene.stranger.Delete(scene.ranges, scene.At(Udp(5000, 5999)));
  CHECK(scene.stranger.Repair() ==
        "add element inet edged ranges4 { 203.0.113.1 . udp . 5000-5999 : "
        "0xed000100 }\n");
}

TEST_CASE("drift_table: an added mapping is deleted", "[drift_table]") {
  Scene scene;
  scene.stranger.Add(scene.ports, scene.At(Tcp(81)));
  CHECK(scene.stranger.Repair() ==
        "delete element inet edged ports4 { 203.0.113.1 . tcp . 81 }\n");
  // Also one of an address that is not ours at all.
  Element foreign = scene.At(Tcp(81));
  foreign.key[0] = 9;
  scene.stranger.Add(scene.ports, foreign);
  CHECK(scene.stranger.Repair() ==
        "delete element inet edged ports4 { 9.0.113.1 . tcp . 81 }\n");
}

TEST_CASE("drift_table: a mapping that was turned elsewhere is turned back",
          "[drift_table]") {
  Scene scene;
  scene.stranger.Delete(scene.ports, scene.At(Tcp(80)));
  scene.stranger.Add(scene.ports, scene.At(Tcp(80), 0xed00ff00));
  CHECK(scene.stranger.Repair() ==
        "delete element inet edged ports4 { 203.0.113.1 . tcp . 80 }\n"
        "add element inet edged ports4 { 203.0.113.1 . tcp . 80 : 0xed000100 "
        "}\n");
}

TEST_CASE("drift_table: what is right again is not written", "[drift_table]") {
  Scene scene;
  scene.stranger.Delete(scene.ports, scene.At(Tcp(80)));
  scene.stranger.Add(scene.ports, scene.At(Tcp(80)));
  CHECK(scene.stranger.Repair() == "");
}

TEST_CASE("drift_table: elements of the small sets", "[drift_table]") {
  Scene scene;
  const nftables::Set groups = GroupsSet();
  const auto listing = scene.edge.Listing();
  const Element group = listing.sets.at(groups.name).elements.at(0);
  scene.stranger.Delete(groups, group);
  CHECK(scene.stranger.Repair() ==
        "add element inet edged groups { 0xed000100 : goto group-g1 }\n");
  const nftables::Set reserved = ReservedSet();
  Element port;
  port.key = nftables::Concat(
      {nftables::ToBytes(Protocol::kTcp), nftables::PortBytes(9)});
  scene.stranger.Add(reserved, port);
  CHECK(scene.stranger.Repair() ==
        "delete element inet edged reserved { tcp . 9 }\n");
}

TEST_CASE("drift_table: a chain is filled anew", "[drift_table]") {
  Scene scene;
  scene.stranger.Flush("back");
  CHECK(scene.stranger.Repair() ==
        "flush chain inet edged back\n"
        "add rule inet edged back iifname \"edged0\" snat ip to ip saddr map "
        "@back4\n");
  scene.stranger.Flush(GroupChainName("g1"));
  CHECK_THAT(scene.stranger.Repair(),
             Catch::StartsWith("flush chain inet edged group-g1\n"));
}

TEST_CASE("drift_table: what it does not know takes a whole look",
          "[drift_table]") {
  Scene scene;
  scene.stranger.damage.Add(
      {.object = EventObject::kRule, .table = kTable, .name = "strange"});
  CHECK(scene.stranger.Repair() == "whole");
  scene.stranger.damage.Add({.object = EventObject::kElements,
                             .table = kTable,
                             .name = "strange",
                             .elements = {scene.At(Tcp(80))}});
  CHECK(scene.stranger.Repair() == "whole");
  scene.stranger.damage.AddUnknown();
  CHECK(scene.stranger.Repair() == "whole");
}

TEST_CASE("drift_table: many strange changes at once are put right",
          "[drift_table]") {
  std::mt19937 random(7);
  Scene scene;
  protocol::EdgeDelta delta;
  for (uint16_t port = 1000; port < 1040; ++port) {
    delta.mappings.push_back({Tcp(port), "g1"});
  }
  scene.edge.Change(delta);
  for (int round = 0; round < 50; ++round) {
    const auto there = scene.edge.Listing().sets.at("ports4").elements;
    for (const Element& element : there) {
      if (random() % 8 == 0) scene.stranger.Delete(scene.ports, element);
    }
    for (int i = 0; i < 4; ++i) {
      const auto port = static_cast<uint16_t>(2000 + round * 4 + i);
      if (random() % 2 == 0) {
        scene.stranger.Add(scene.ports, scene.At(Tcp(port)));
      }
    }
    if (random() % 4 == 0) scene.stranger.Flush("forward");
    CHECK(scene.stranger.Repair() != "whole");
  }
}

}  // namespace edged::edge
