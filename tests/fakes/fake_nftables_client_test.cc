#include "tests/fakes/fake_nftables_client.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "common/nftables/print.h"
#include "common/status.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

std::string Text(const Rule& rule) { return Print(rule); }

// A fake that holds the edge's table.
struct Fixture {
  Fixture() {
    REQUIRE(client.Apply(Diff(Listing{}, table, Text)) == absl::OkStatus());
  }
  // The error of one more operation; the table must be as before.
  std::string Refused(const Operation& operation, absl::StatusCode code) {
    Transaction transaction("edged");
    transaction.Add(AddChain{{"new", {}, {}}});
    transaction.Add(operation);
    REQUIRE(transaction.status() == absl::OkStatus());
    const absl::Status status = client.Apply(transaction);
    CHECK(status.code() == code);
    CHECK(client.Current("edged") == table);
    return std::string(Message(status));
  }
  absl::Status Do(const Operation& operation) {
    Transaction transaction("edged");
    transaction.Add(operation);
    return client.Apply(transaction);
  }

  Table table = EdgeTable();
  const Set& ports = table.sets[0].set;
  const Set& groups = table.sets[2].set;
  FakeClient client{Text};
};

}  // namespace

TEST_CASE("fake_nftables_client: holds what was applied", "[fake]") {
  Fixture fixture;
  CHECK(fixture.client.Current("edged") == fixture.table);
  CHECK(fixture.client.Current("other") == std::nullopt);
  const auto listing = fixture.client.List("edged");
  REQUIRE(listing.ok());
  CHECK(listing->exists);
  CHECK(listing->chains.at("prerouting").rules.at(0).expressions ==
        "iifname != \"edged0\" jump translate");
  CHECK(listing->sets.at("groups") == fixture.table.sets[2]);
  CHECK_FALSE(fixture.client.List("other")->exists);
  CHECK(fixture.client.applied().size() == 1);
}

TEST_CASE("fake_nftables_client: generations and handles move", "[fake]") {
  Fixture fixture;
  const Listing before = *fixture.client.List("edged");
  CHECK(before == *fixture.client.List("edged"));
  CHECK(fixture.client.Apply(Transaction("edged")) == absl::OkStatus());
  CHECK(before == *fixture.client.List("edged"));
  Transaction same("edged");
  same.ReplaceRules(fixture.table.chains[1]);
  CHECK(fixture.client.Apply(same) == absl::OkStatus());
  const Listing after = *fixture.client.List("edged");
  CHECK(after.generation == before.generation + 1);
  CHECK(after.chains.at("translate").rules[0].handle !=
        before.chains.at("translate").rules[0].handle);
}

TEST_CASE("fake_nftables_client: refuses elements as the kernel does",
          "[fake]") {
  Fixture fixture;
  Element changed = fixture.table.sets[0].elements[0];
  CHECK(fixture.Do(AddElements{fixture.ports, {changed}}) == absl::OkStatus());
  changed.data = MarkBytes(5);
  CHECK(fixture.Refused(AddElements{fixture.ports, {changed}},
                        absl::StatusCode::kAlreadyExists) ==
        "add element inet edged ports4 { 203.0.113.1 . tcp . 80 : 0x00000005 "
        "}: File exists");
  const Element missing{
      Listener("203.0.113.9", Protocol::kTcp, 1), {}, MarkBytes(1)};
  CHECK(fixture.Refused(DeleteElements{fixture.ports, {missing}},
                        absl::StatusCode::kNotFound) ==
        "delete element inet edged ports4 { 203.0.113.9 . tcp . 1 }: No such "
        "file or directory");
  const Element overlap{Listener("203.0.113.1", Protocol::kTcp, 150),
                        Listener("203.0.113.1", Protocol::kTcp, 250),
                        MarkBytes(1)};
  fixture.Refused(AddElements{fixture.table.sets[1].set, {overlap}},
                  absl::StatusCode::kAlreadyExists);
  const Element nowhere{
      MarkBytes(9), {}, {}, Verdict{VerdictKind::kGoto, "nowhere"}};
  fixture.Refused(AddElements{fixture.groups, {nowhere}},
                  absl::StatusCode::kNotFound);
  const Element to_base{
      MarkBytes(9), {}, {}, Verdict{VerdictKind::kGoto, "input"}};
  fixture.Refused(AddElements{fixture.groups, {to_base}},
                  absl::StatusCode::kUnimplemented);
}

TEST_CASE("fake_nftables_client: refuses to remove what is in use", "[fake]") {
  Fixture fixture;
  CHECK(fixture.Refused(DeleteSet{"ports4", true},
                        absl::StatusCode::kUnavailable) ==
        "delete map inet edged ports4: Device or resource busy");
  fixture.Refused(DeleteChain{"group-1"}, absl::StatusCode::kUnavailable);
  CHECK(fixture.Do(FlushChain{"group-1"}) == absl::OkStatus());
  fixture.table.chains[0].rules.clear();
  fixture.Refused(DeleteChain{"group-1"}, absl::StatusCode::kUnavailable);
  CHECK(fixture.Do(FlushSet{"groups", true}) == absl::OkStatus());
  CHECK(fixture.Do(DeleteChain{"group-1"}) == absl::OkStatus());
}

TEST_CASE("fake_nftables_client: refuses unknown and other objects", "[fake]") {
  using absl::StatusCode::kAlreadyExists;
  using absl::StatusCode::kInvalidArgument;
  using absl::StatusCode::kNotFound;
  Fixture fixture;
  fixture.Refused(FlushChain{"nowhere"}, kNotFound);
  fixture.Refused(DeleteChain{"nowhere"}, kNotFound);
  fixture.Refused(DeleteSet{"nothing"}, kNotFound);
  fixture.Refused(AddRule{"nowhere", {{Counter{}}}}, kNotFound);
  fixture.Refused(AddRule{"new", {{Verdict{VerdictKind::kJump, "nowhere"}}}},
                  kNotFound);
  fixture.Refused(AddRule{"new", {{MatchSet{{Field::kMark}, "nothing"}}}},
                  kNotFound);
  fixture.Refused(AddRule{"new", {{MatchSet{{Field::kThDport}, "reserved"}}}},
                  absl::StatusCode::kInternal);
  fixture.Refused(AddRule{"new", {{VerdictMap{{Field::kMark}, "back4"}}}},
                  kInvalidArgument);
  Set other = fixture.ports;
  other.counter = false;
  fixture.Refused(AddSet{other}, kAlreadyExists);
  fixture.Refused(
      AddChain{{"input", Hook{ChainType::kFilter, HookPoint::kInput, 7}, {}}},
      absl::StatusCode::kUnimplemented);
  Transaction elsewhere("elsewhere");
  elsewhere.Add(FlushChain{"input"});
  CHECK(fixture.client.Apply(elsewhere).code() == kNotFound);
}

TEST_CASE("fake_nftables_client: refuses loops and misplaced translations",
          "[fake]") {
  Fixture fixture;
  fixture.Refused(
      AddRule{"translate", {{Verdict{VerdictKind::kJump, "translate"}}}},
      absl::StatusCode::kInternal);
  fixture.Refused(AddRule{"forward", {{Masquerade{}}}},
                  absl::StatusCode::kUnimplemented);
  // Reached from prerouting and output.
  fixture.Refused(AddRule{"group-1", {{Masquerade{}}}},
                  absl::StatusCode::kUnimplemented);
  fixture.Refused(AddRule{"back-mapped", {{Reject{}}}},
                  absl::StatusCode::kUnimplemented);
}

TEST_CASE("fake_nftables_client: fails once when told to", "[fake]") {
  Fixture fixture;
  fixture.client.FailNext(absl::UnavailableError("no buffer space"));
  Transaction transaction("edged");
  transaction.Add(DeleteTable{});
  CHECK(fixture.client.Apply(Transaction("edged")) == absl::OkStatus());
  CHECK(Message(fixture.client.Apply(transaction)) == "no buffer space");
  CHECK(fixture.client.Current("edged") == fixture.table);
  CHECK(fixture.client.Apply(transaction) == absl::OkStatus());
  CHECK(fixture.client.Current("edged") == std::nullopt);
  CHECK(fixture.client.applied().size() == 2);
}

TEST_CASE("fake_nftables_client: a poisoned transaction is not tried",
          "[fake]") {
  Fixture fixture;
  Transaction transaction("edged");
  transaction.Add(DeleteTable{});
  transaction.Add(DeleteChain{""});
  CHECK(fixture.client.Apply(transaction) == transaction.status());
  CHECK(fixture.client.Current("edged") == fixture.table);
}

TEST_CASE("fake_nftables_client: reads elements one by one", "[fake]") {
  Fixture fixture;
  const Element known = fixture.table.sets[0].elements[1];
  Element key = known;
  key.data.clear();
  const Element unknown{Listener("203.0.113.9", Protocol::kTcp, 1)};
  const auto found =
      fixture.client.GetElements("edged", fixture.ports, {key, unknown});
  REQUIRE(found.ok());
  CHECK(*found == std::vector{known});
  size_t count = 0;
  CHECK(fixture.client.ForEachElement("edged", fixture.ports,
                                      [&count](const Element&) { ++count; }) ==
        absl::OkStatus());
  CHECK(count == 4);
  const Set nothing{"nothing", {Type::kMark}};
  CHECK(fixture.client.GetElements("edged", nothing, {}).status().code() ==
        absl::StatusCode::kNotFound);
  CHECK(fixture.client.ForEachElement("edged", nothing, {}).code() ==
        absl::StatusCode::kNotFound);
}

}  // namespace edged::nftables
