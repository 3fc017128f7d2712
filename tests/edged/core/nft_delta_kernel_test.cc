// The edge's table in this host's kernel, in a network namespace of its own.

#include <sched.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>

#include "common/nftables/client.h"
#include "tests/edged/core/edge_on_kernel.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using Clock = std::chrono::steady_clock;

// nullptr, after it said why, when this cannot be tried here.
std::unique_ptr<nftables::Client> OpenInOwnNamespace() {
  if (unshare(CLONE_NEWNET) != 0) {
    std::cout << "SKIPPED: no network namespace: " << std::strerror(errno)
              << "\n";
    return nullptr;
  }
  auto client = nftables::Client::Open();
  if (!client.ok()) {
    std::cout << "SKIPPED: " << client.status() << "\n";
    return nullptr;
  }
  return *std::move(client);
}

TEST_CASE("nft_delta: the kernel ends in the whole table on any way",
          "[nft_delta]") {
  const auto client = OpenInOwnNamespace();
  if (!client) return;
  EdgeOnKernel edge(*client);
  edge.facts.health["d"] = Health::kAlive;
  std::mt19937 random(20240607);
  for (int i = 0; i < 40; ++i) {
    const auto wanted = RandomState(random);
    const auto judgement = edge.model.JudgeSnapshot(wanted, edge.facts.limits);
    REQUIRE(judgement.status() == absl::OkStatus());
    edge.Change(judgement->accepted);
    const UplinkHealth previous = edge.facts.health;
    edge.facts.health["a"] = i % 2 == 0 ? Health::kDead : Health::kAlive;
    REQUIRE(edge.kernel.Apply(CompileHealthChange(
                edge.model, edge.facts, previous)) == absl::OkStatus());
    CHECK(nftables::Print(edge.Missing()) == "");
  }
  // A restart takes the marks over, and finds nothing to do.
  const auto marks = GroupMarks::TakeOver(*client->List(kTable), edge.model);
  REQUIRE(marks.ok());
  edge.marks = *marks;
  CHECK(nftables::Print(edge.Missing()) == "");
}

TEST_CASE("nft_delta: one mapping among 60,000 costs less than a millisecond",
          "[nft_delta]") {
  const auto client = OpenInOwnNamespace();
  if (!client) return;
  EdgeOnKernel edge(*client);
  protocol::EdgeState state = SampleState();
  for (uint16_t port = 1000; port < 61000; ++port) {
    state.mappings.push_back({Tcp(port), "g1"});
  }
  edge.model = ModelOf(state);
  REQUIRE(edge.model.mapping_count() == 60000);
  REQUIRE(edge.kernel.Apply(edge.Missing()) == absl::OkStatus());
  CHECK(nftables::Print(edge.Missing()) == "");

  constexpr int kRounds = 100;
  Clock::duration spent{};
  for (int i = 0; i < kRounds; ++i) {
    protocol::EdgeDelta delta;
    if (i % 2 == 0) {
      delta.removed_mappings = {Tcp(2000)};
    } else {
      delta.mappings = {{Tcp(2000), "g1"}};
    }
    const auto start = Clock::now();
    const auto judgement = edge.model.Judge(delta, edge.facts.limits);
    REQUIRE(judgement.ok());
    REQUIRE(edge.kernel
                .Apply(CompileDelta(edge.model, edge.marks, edge.facts,
                                    judgement->accepted))
                .ok());
    for (const auto& touched :
         Touched(edge.marks, edge.facts, judgement->accepted.mappings,
                 judgement->accepted.removed_mappings)) {
      const auto found =
          edge.kernel.GetElements(kTable, touched.set, touched.Keys());
      REQUIRE(found.ok());
      REQUIRE(CheckReadBack(touched, *found).ok());
    }
    edge.model.Commit(judgement->accepted);
    spent += Clock::now() - start;
  }
  const auto each =
      std::chrono::duration_cast<std::chrono::microseconds>(spent) / kRounds;
  std::cout << "one of 60,000 mappings: " << each.count() << " us\n";
  CHECK(each < std::chrono::milliseconds(1));
}

}  // namespace
}  // namespace edged::edge
