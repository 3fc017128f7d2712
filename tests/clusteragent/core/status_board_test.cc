#include "clusteragent/core/status_board.h"

#include <catch2/catch.hpp>

#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

const ObjectKey kOne{Kind::kPortBinding, "default", "one"};
const ObjectKey kTwo{Kind::kPortBinding, "default", "two"};
const ObjectKey kEdgeOne{Kind::kEdgeNode, "", "e1"};

// Edges e1 and e2 with an object each; both were told of once.
struct Board {
  ObjectStore store;
  IslandPlanner planner;
  EdgeReports reports;
  StatusBoard::Invalid invalid;
  StatusBoard board;

  Board() {
    store.SetEdgeNodes(
        {Edge("e1", {"203.0.113.1"}), Edge("e2", {"203.0.113.2"})});
    store.Put(Object("one", "e1", {Bind("x", "TCP", 80)}));
    store.Put(Object("two", "e2", {Bind("x", "TCP", 80)}));
    reports = {{"e1", {}}, {"e2", {}}};
    Plan();
    CHECK_FALSE(Restate());
  }

  void Plan() {
    const Facts facts = FactsFor({"e1", "e2"});
    const Allocation allocation = Allocate({}, store.EdgeWorld(), facts);
    board.NotePlan(planner.Replan(store, allocation, facts));
    store.ForgetChanges();
  }

  std::optional<std::set<ObjectKey>> Restate() {
    const auto changed = board.Restate(
        planner, invalid,
        [this](const std::string& edge) -> std::optional<EdgeReport> {
          const auto found = reports.find(edge);
          if (found == reports.end()) return std::nullopt;
          return found->second;
        });
    // However it came about.
    ObjectStatuses all = MakeStatus(planner.plan(), reports);
    for (const auto& [key, why] : invalid) TellInvalid(key, why, all);
    CHECK(board.statuses() == all);
    return changed;
  }
};

TEST_CASE("status_board: nothing that changed is nothing to say",
          "[status_board]") {
  Board all;
  CHECK(all.Restate() == std::set<ObjectKey>());
  all.board.NoteEdge("e1");
  CHECK(all.Restate() == std::set<ObjectKey>());
}

TEST_CASE("status_board: an edge's report is about its own objects",
          "[status_board]") {
  Board all;
  all.reports["e1"].enrolled = true;
  all.board.NoteEdge("e1");
  CHECK(all.Restate() == std::set<ObjectKey>{kEdgeOne, kOne});
  CHECK(all.board.reports().at("e1").enrolled);
}

TEST_CASE("status_board: an object whose plan is another", "[status_board]") {
  Board all;
  SECTION("is told of") {
    all.store.Put(Object("two", "e2", {Bind("x", "TCP", 81)}));
    all.Plan();
    const auto changed = all.Restate();
    REQUIRE(changed);
    CHECK(changed->contains(kTwo));
    CHECK_FALSE(changed->contains(kOne));
  }
  SECTION("one that is gone, too") {
    all.store.RemovePortBinding({"default", "two"});
    all.Plan();
    CHECK(all.Restate()->contains(kTwo));
    CHECK_FALSE(all.board.statuses().contains(kTwo));
  }
}

TEST_CASE("status_board: an edge that is asked for something else",
          "[status_board]") {
  Board all;
  for (auto& [edge, report] : all.reports) {
    const auto state = std::make_shared<const protocol::EdgeState>(
        all.planner.plan().Edge(edge)->wanted);
    report = {.enrolled = true,
              .tunnel_up = true,
              .answered = state,
              .carried = state};
    all.board.NoteEdge(edge);
  }
  all.Restate();
  REQUIRE(all.board.statuses().at(kTwo).Find("Ready")->status ==
          ConditionStatus::kTrue);
  // Every mapping of it has another group then.
  EdgeNode other = Edge("e2", {"203.0.113.2"});
  other.uplink_selector.match_labels["site"] = "home";
  all.store.SetEdgeNodes({Edge("e1", {"203.0.113.1"}), other});
  all.Plan();
  CHECK(all.Restate()->contains(kTwo));
  CHECK(all.board.statuses().at(kTwo).Find("Ready")->reason ==
        "NotProgrammed");
}

TEST_CASE("status_board: what cannot be read says so until it can",
          "[status_board]") {
  Board all;
  all.invalid[kOne] = {2, "spec: is a list"};
  CHECK(all.Restate() == std::set<ObjectKey>{kOne});
  CHECK(all.board.statuses().at(kOne).Find("Ready")->message ==
        "spec: is a list");
  CHECK(all.Restate() == std::set<ObjectKey>());
  all.invalid.clear();
  CHECK(all.Restate() == std::set<ObjectKey>{kOne});
}

}  // namespace
}  // namespace edged::agent
