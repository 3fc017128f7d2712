// Whether the kernel takes differences in the order in which we make them.

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>
#include <memory>
#include <random>
#include <string>

#include "common/nftables/client.h"
#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/common/nftables/random_table.h"
#include "tests/common/nftables/sample_tables.h"
#include "tests/fakes/fake_nftables_client.h"

namespace edged::nftables {
namespace {

// A table in the kernel, and the same in memory.
struct Fixture {
  Fixture() {
    Nft("flush ruleset");
    auto opened = Client::Open();
    REQUIRE(opened.status() == absl::OkStatus());
    kernel = *std::move(opened);
  }

  Listing List(Client& client) {
    auto listing = client.List("edged");
    REQUIRE(listing.status() == absl::OkStatus());
    return *std::move(listing);
  }

  void Change(const Table& wanted) {
    const Listing listing = List(*kernel);
    const Transaction change = Diff(listing, wanted);
    INFO(Print(change));
    CHECK(Print(change) == Print(Diff(List(fake), wanted)));
    REQUIRE(kernel->Apply(change) == absl::OkStatus());
    REQUIRE(fake.Apply(change) == absl::OkStatus());
    CHECK(Print(Diff(List(*kernel), wanted)) == "");
  }

  std::unique_ptr<Client> kernel;
  FakeClient fake;
};

}  // namespace

TEST_CASE("diff: the kernel takes any difference in one batch",
          "[diff][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  std::mt19937 random(Catch::rngSeed());  // 0 unless --rng-seed says
  Fixture fixture;
  for (int round = 0; round < 100; ++round) {
    fixture.Change(RandomTable(random));
  }
  fixture.Change(Table{"edged", {}, {}});
}

TEST_CASE("fake_nftables_client: refuses what the kernel refuses",
          "[fake][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Fixture fixture;
  const Table edge = EdgeTable();
  fixture.Change(edge);
  const Set& ports = edge.sets[0].set;
  const Set& ranges = edge.sets[1].set;
  const Set& groups = edge.sets[2].set;
  const Element known = edge.sets[0].elements[0];
  const Element changed{known.key, {}, MarkBytes(5)};
  const Element missing{
      Listener("203.0.113.9", Protocol::kTcp, 1), {}, MarkBytes(1)};
  const Element overlap{Listener("203.0.113.1", Protocol::kTcp, 150),
                        Listener("203.0.113.1", Protocol::kTcp, 250),
                        MarkBytes(1)};
  const auto to = [](std::string chain) {
    return Element{MarkBytes(9), {}, {}, Verdict{VerdictKind::kGoto, chain}};
  };
  const auto jump = [](std::string chain) {
    return Rule{{Verdict{VerdictKind::kJump, std::move(chain)}}};
  };
  Set other = ports;
  other.key.pop_back();
  const Hook elsewhere{ChainType::kFilter, HookPoint::kInput, 7};
  const Hook output{ChainType::kFilter, HookPoint::kOutput, 0};
  const std::vector<Operation> operations = {
      AddElements{ports, {known}},
      AddElements{ports, {changed}},
      DeleteElements{ports, {missing}},
      AddElements{ranges, {overlap}},
      AddElements{groups, {to("nowhere")}},
      AddElements{groups, {to("input")}},
      AddSet{ports},
      AddSet{other},
      DeleteSet{"ports4", true},
      DeleteSet{"nothing"},
      FlushSet{"nothing"},
      FlushSet{"groups", true},
      AddChain{{"input", elsewhere, {}}},
      AddChain{{"input", output, {}}},
      AddChain{{"input", {}, {}}},
      AddChain{{"translate", elsewhere, {}}},
      AddChain{{"output", elsewhere, {}}},
      FlushChain{"nowhere"},
      DeleteChain{"nowhere"},
      DeleteChain{"group-1"},
      AddRule{"nowhere", {{Counter{}}}},
      AddRule{"input", jump("nowhere")},
      AddRule{"input", jump("forward")},
      AddRule{"translate", jump("translate")},
      AddRule{"input", {{MatchSet{{Field::kMark}, "nothing"}}}},
      AddRule{"input", {{MatchSet{{Field::kThDport}, "reserved"}}}},
      AddRule{"input", {{VerdictMap{{Field::kMark}, "back4"}}}},
      AddRule{"input", {{SetCtMarkFromMap{{Field::kMark}, "groups"}}}},
      AddRule{"forward", {{Masquerade{}}}},
      AddRule{"group-1", {{Masquerade{}}}},
      AddRule{"back", {{Masquerade{}}}},
      AddRule{"back-mapped", {{Reject{}}}},
      AddRule{"group-1", {{Reject{}}}},
  };
  const Listing before = fixture.List(*fixture.kernel);
  for (const Operation& operation : operations) {
    Transaction transaction("edged");
    transaction.Add(operation);
    INFO(Print(transaction));
    REQUIRE(transaction.status() == absl::OkStatus());
    CHECK(fixture.kernel->Apply(transaction).code() ==
          fixture.fake.Apply(transaction).code());
    // Back to the edge's table, for both.
    REQUIRE(fixture.kernel->Apply(Diff(fixture.List(*fixture.kernel), edge)) ==
            absl::OkStatus());
    REQUIRE(fixture.fake.Apply(Diff(fixture.List(fixture.fake), edge)) ==
            absl::OkStatus());
  }
  CHECK(fixture.List(*fixture.kernel).sets == before.sets);
}

}  // namespace edged::nftables
