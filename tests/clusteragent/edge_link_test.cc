#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <utility>

#include "common/protocol/epoch_refusal.h"
#include "tests/clusteragent/linked_edge.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Phase = EdgeKeyNotice::Phase;

TEST_CASE("edge_link: once it is carried the edge is asked for what is wanted",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.link->Follow(setup.PlanOf("80"));
  CHECK(setup.edge.Heard() == "");
  setup.Carry("80");
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80\n");
  CHECK(setup.dialled->ToString() == "10.200.0.1:7443");
  SECTION("it has something else") {
    setup.edge.Welcome("443");
    CHECK(setup.edge.Heard() == "1: snapshot 80\n");
  }
  SECTION("it has it already") {
    setup.edge.Welcome("80");
    CHECK(setup.edge.Heard() == "");
    CHECK(*setup.link->Report().answered == setup.PlanOf("80").wanted);
  }
}

TEST_CASE("edge_link: heartbeats tell of what is carried, not what is wanted",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  CHECK(setup.beats.applied == setup.DigestOfPorts("80"));
  CHECK(setup.beats.word.ready);
  setup.link->Follow(setup.PlanOf("80 443"));
  CHECK(setup.beats.applied == setup.DigestOfPorts("80"));
  CHECK(setup.edge.Heard() == "");
  setup.link->CarryOn();
  CHECK(setup.beats.applied == setup.DigestOfPorts("80 443"));
  CHECK(setup.edge.Heard() == "2: of 1, +443\n");
  setup.link->Drain();
  CHECK(setup.beats.word.draining);
  CHECK_FALSE(setup.beats.word.ready);
  CHECK(setup.beats.applied == setup.DigestOfPorts("80 443"));
  CHECK(setup.beats.started == 1);
}

TEST_CASE("edge_link: an uplink carries what the edge has heard from it",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  CHECK(setup.link->Report().answered != nullptr);
  CHECK(setup.link->Report().carried == nullptr);
  setup.Report("80", "", /*alive=*/true);
  CHECK(setup.link->Report().carried == nullptr);
  CHECK(setup.link->Report().settling);
  setup.Report("80", "80", /*alive=*/true);
  CHECK(setup.link->Report().carried == setup.link->Report().answered);
  CHECK_FALSE(setup.link->Report().settling);
  // Nobody carries anything any more.
  setup.Report("80", "80", /*alive=*/false);
  CHECK(setup.link->Report().carried == nullptr);
}

TEST_CASE("edge_link: what another uplink carries the edge is asked for",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  setup.link->Follow(setup.PlanOf("80 443"));
  setup.Report("80", "80", /*alive=*/true);
  CHECK(setup.edge.Heard() == "");
  setup.Report("80", "80 443", /*alive=*/true);
  CHECK(setup.edge.Heard() == "2: of 1, +443\n");
}

TEST_CASE("edge_link: another term has a stream of its own, and none has none",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  setup.plane.term = Epoch{"cluster", 8};
  setup.link->FollowTerm();
  CHECK(setup.edge.Heard() == "close\nopen, epoch 8, hello 80\n");
  setup.plane.term.reset();
  setup.link->FollowTerm();
  CHECK(setup.edge.Heard() == "close\n");
  CHECK(setup.link->syncer() == nullptr);
  setup.link->CarryOn();
  setup.loop.Advance(seconds(30));
  CHECK(setup.edge.Heard() == "");
}

TEST_CASE("edge_link: a later term that ended its stream is told",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  SECTION("another stream took over") {
    setup.edge.End(absl::AbortedError(protocol::TookOverText(9)));
  }
  SECTION("the edge has seen it") {
    setup.edge.End(
        absl::FailedPreconditionError(protocol::OlderEpochText(7, 9)));
  }
  CHECK(setup.plane.exceeded == 9);
}

TEST_CASE("edge_link: a key is on disk and shared before the edge hears so",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  const PublicKey next = Fresh();
  const EdgeKeyNotice proposal{Phase::kProposed, next, setup.in_use};
  setup.edge.stream()->OnKey(proposal);
  CHECK(setup.Stored() == next);
  CHECK(setup.edge.Heard() == "");
  REQUIRE(setup.plane.shared);
  std::exchange(setup.plane.shared, nullptr)();
  CHECK(setup.edge.Heard() == "key " + next.Short() + " stored\n");
  // Its answer was lost.
  setup.edge.stream()->OnKey(proposal);
  REQUIRE(setup.plane.shared);
  setup.plane.shared();
  CHECK(setup.edge.Heard() == "key " + next.Short() + " stored\n");
  // It is shared when nobody asks any more.
  setup.link.reset();
  setup.plane.shared();
}

TEST_CASE("edge_link: a stream that fails is trouble until it is open again",
          "[edge_link]") {
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  setup.edge.End(absl::UnavailableError("nobody there"));
  CHECK(setup.link->Report().trouble == "nobody there");
  setup.loop.Advance(seconds(1));
  CHECK(setup.edge.Heard() == "close\nopen, epoch 7, hello 80\n");
  setup.edge.Welcome("80");
  CHECK(setup.link->Report().trouble == "");
}

TEST_CASE("edge_link: without a token it says how to give one out",
          "[edge_link]") {
  LinkedEdge setup(/*is_new=*/true);
  setup.Start();
  setup.link->Follow(setup.PlanOf("80"));
  setup.loop.Advance(milliseconds(1));
  CHECK_FALSE(setup.link->enrolled());
  CHECK(setup.link->Report().trouble ==
        "no token was given out; run `clusteragent token eu`");
  CHECK_FALSE(setup.link->access().endpoint);
  // Its address is looked up when there is one, and planned with.
  setup.plane.term.reset();
  setup.plane.token =
      IssuedToken{.id = "t", .expires = {}, .edge_key = Fresh()};
  setup.link->Follow(setup.PlanOf("80"));
  setup.loop.Advance(milliseconds(1));
  CHECK(setup.link->enrolled());
  CHECK_FALSE(setup.link->registered());
  CHECK(setup.link->access().endpoint->ToString() == "192.0.2.1:51820");
  CHECK(setup.replanned == 1);
}

TEST_CASE("edge_link: a key file that cannot be read is tried again",
          "[edge_link]") {
  LinkedEdge setup(/*is_new=*/true);
  const std::string file = setup.folder / "keys/eu.yaml";
  REQUIRE(MakeFolders(file).ok());
  setup.Start();
  CHECK_FALSE(setup.link->own_key());
  CHECK(setup.link->Report().file_trouble.find(file) != std::string::npos);
  CHECK(setup.link->Report().trouble == setup.link->Report().file_trouble);
  REQUIRE(std::filesystem::remove(file));
  setup.loop.Advance(seconds(2));
  CHECK(setup.link->own_key());
  CHECK(setup.link->Report().file_trouble == "");
  CHECK(setup.replanned == 1);
}

}  // namespace
}  // namespace edged::agent
