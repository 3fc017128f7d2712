#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/clusteragent/linked_edge.h"
#include "tests/common/netlink/own_namespace.h"

// Where an EdgeLink makes a device to introduce itself by.

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kRegister[] = "register home as eu\n";

TEST_CASE("edge_link: introduces itself by a token, with growing pauses",
          "[edge_link]") {
  const netlink::OwnNamespace own;
  if (!own) return;
  LinkedEdge setup(/*is_new=*/true);
  setup.plane.token =
      IssuedToken{.id = "t", .expires = {}, .edge_key = setup.in_use};
  setup.edge.register_answer = absl::UnavailableError("nobody there");
  setup.Start();
  setup.link->Follow(setup.PlanOf("80"));
  setup.loop.Advance(milliseconds(1));
  setup.loop.Advance(milliseconds(1));
  CHECK(setup.edge.Heard() == kRegister);
  CHECK(setup.link->Report().trouble == "nobody there");
  // How long until it is tried again.
  std::vector<int64_t> pauses;
  while (pauses.size() < 8) {
    const auto before = setup.loop.now();
    while (setup.edge.Heard().empty()) {
      setup.loop.Advance(milliseconds(10));
      REQUIRE(setup.loop.now() - before < seconds(10));
    }
    pauses.push_back(
        std::chrono::ceil<milliseconds>(setup.loop.now() - before).count());
  }
  CHECK(pauses.front() <= 320);
  CHECK(pauses.back() >= 2'000);
  CHECK(std::ranges::max(pauses) <= 5'020);

  setup.edge.register_answer = absl::OkStatus();
  setup.loop.Advance(seconds(6));
  CHECK(setup.edge.Heard() == kRegister);
  CHECK(setup.link->registered());
  CHECK(setup.link->Report().trouble == "");
  CHECK(setup.state.LoadKey("eu")->registered_with == setup.in_use);
  CHECK(setup.link->access().edge_key == setup.in_use);
}

TEST_CASE("edge_link: who does not lead introduces itself to nobody",
          "[edge_link]") {
  const netlink::OwnNamespace own;
  if (!own) return;
  LinkedEdge setup(/*is_new=*/true);
  setup.plane.token =
      IssuedToken{.id = "t", .expires = {}, .edge_key = setup.in_use};
  setup.plane.term.reset();
  setup.Start();
  setup.link->Follow(setup.PlanOf("80"));
  setup.loop.Advance(seconds(30));
  CHECK(setup.edge.Heard() == "");
  setup.plane.term = Epoch{"cluster", 8};
  setup.link->FollowTerm();
  setup.loop.Advance(milliseconds(1));
  CHECK(setup.edge.Heard() == kRegister);
}

TEST_CASE("edge_link: an edge without a word for long may have forgotten us",
          "[edge_link]") {
  const netlink::OwnNamespace own;
  if (!own) return;
  LinkedEdge setup;
  setup.Start();
  setup.Serve("80");
  setup.loop.Advance(seconds(30));
  CHECK(setup.edge.Heard() == "");
  setup.beats.up = false;
  setup.edge.End(absl::UnavailableError("gone"));
  setup.loop.Advance(seconds(8));
  CHECK(setup.edge.Heard().find(kRegister) == std::string::npos);
  setup.loop.Advance(seconds(6));
  CHECK(setup.edge.Heard().find(kRegister) != std::string::npos);
}

}  // namespace
}  // namespace edged::agent
