// Loads what we print with the nft tool of this host and compares its listing.

#include <catch2/catch.hpp>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "common/nftables/check.h"
#include "common/nftables/print.h"
#include "common/nftables/transaction.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

// What nft lists after it has loaded `text`, or its complaint.
std::string ListingOf(const std::string& text, const std::string& table) {
  Nft("flush ruleset");
  const NftOutput loaded = Nft("-f -", text);
  if (loaded.code != 0) return loaded.text;
  return Nft("list table inet " + table).text;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Shows the lines that differ, not two whole listings.
void CheckSame(const std::string& listed, const std::string& printed) {
  const auto left = Lines(listed), right = Lines(printed);
  if (left.size() != right.size()) {
    CHECK(listed == printed);
    return;
  }
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i] != right[i]) CHECK(left[i] == right[i]);
  }
  CHECK((listed == printed));
}

void CheckListing(const Table& table) {
  for (const SetWithElements& set : table.sets) {
    REQUIRE(CheckSet(set.set) == absl::OkStatus());
    for (const Element& element : set.elements) {
      REQUIRE(CheckElement(set.set, element) == absl::OkStatus());
    }
  }
  for (const Chain& chain : table.chains) {
    for (const Rule& rule : chain.rules) {
      INFO(Print(rule));
      REQUIRE(CheckRule(rule) == absl::OkStatus());
    }
  }
  const std::string printed = Print(table);
  const std::string listed = ListingOf(printed, table.name);
  CheckSame(listed, printed);
  CheckSame(ListingOf(listed, table.name), listed);
}

// The same table, made step by step.
Transaction Made(const Table& table) {
  Transaction transaction(table.name);
  transaction.Add(AddTable{});
  for (const CtTimeout& timeout : table.timeouts) {
    transaction.Add(AddTimeout{timeout});
  }
  for (const SetWithElements& set : table.sets) {
    transaction.Add(AddSet{set.set});
  }
  for (const Chain& chain : table.chains) {
    transaction.Add(AddChain{{chain.name, chain.hook, {}}});
  }
  for (const SetWithElements& set : table.sets) {
    if (set.elements.empty()) continue;
    transaction.Add(AddElements{set.set, set.elements});
  }
  for (const Chain& chain : table.chains) {
    if (!chain.rules.empty()) transaction.ReplaceRules(chain);
  }
  return transaction;
}

}  // namespace

TEST_CASE("print: nft lists the tables exactly as they are printed",
          "[print][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  SECTION("edge") { CheckListing(EdgeTable()); }
  SECTION("uplink") { CheckListing(UplinkTable()); }
  SECTION("everything") { CheckListing(EverythingTable()); }
  SECTION("nothing") { CheckListing(Table{"nothing", {}, {}}); }
}

TEST_CASE("print: a transaction's commands make the table in the kernel",
          "[print][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  for (const Table& table : {EdgeTable(), UplinkTable(), EverythingTable()}) {
    const Transaction transaction = Made(table);
    REQUIRE(transaction.status() == absl::OkStatus());
    CheckSame(ListingOf(Print(transaction), table.name), Print(table));
  }
}

TEST_CASE("print: every deletion is a command that nft takes",
          "[print][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const Table table = EverythingTable();
  Transaction emptied(table.name), removal(table.name);
  for (const Chain& chain : table.chains) {
    emptied.Add(FlushChain{chain.name});
  }
  for (const SetWithElements& set : table.sets) {
    if (!set.elements.empty()) {
      emptied.Add(DeleteElements{set.set, set.elements});
    }
    // A batch of its own: nft looks elements of intervals up when it has
    // already carried out the flush in its mind.
    removal.Add(FlushSet{set.set.name, !set.set.data.empty()});
    removal.Add(DeleteSet{set.set.name, !set.set.data.empty()});
  }
  for (const Chain& chain : table.chains) {
    removal.Add(DeleteChain{chain.name});
  }
  for (const CtTimeout& timeout : table.timeouts) {
    removal.Add(DeleteTimeout{timeout.name});
  }
  Transaction end(table.name);
  end.Add(DeleteTable{});

  Table bare = table;
  for (SetWithElements& set : bare.sets) set.elements.clear();
  for (Chain& chain : bare.chains) chain.rules.clear();

  REQUIRE(ListingOf(Print(table), table.name) == Print(table));
  CHECK(Nft("-f -", Print(emptied)).text == "");
  CHECK(Nft("list table inet everything").text == Print(bare));
  CHECK(Nft("-f -", Print(removal)).text == "");
  CHECK(Nft("list table inet everything").text ==
        Print(Table{table.name, {}, {}}));
  CHECK(Nft("-f -", Print(end)).text == "");
  CHECK(Nft("list tables").text == "");
}

TEST_CASE("print: rules of matches in any order are listed as printed",
          "[print][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const Table source = EverythingTable();
  std::vector<Statement> pool;
  for (const Chain& chain : source.chains) {
    if (chain.name != "matches" && chain.name != "actions") continue;
    for (const Rule& rule : chain.rules) {
      pool.insert(pool.end(), rule.statements.begin(), rule.statements.end());
    }
  }
  std::mt19937 random(Catch::rngSeed());  // 0 unless --rng-seed says
  Table table{"mixed", source.sets, {{"other", {}, {}}}};
  Chain chain{"matches", {}, {}};
  while (chain.rules.size() < 400) {
    Rule rule;
    for (size_t count = 2 + random() % 3; count > 0; --count) {
      rule.statements.push_back(pool[random() % pool.size()]);
    }
    if (CheckRule(rule).ok()) chain.rules.push_back(std::move(rule));
  }
  table.chains.push_back(chain);
  table.chains.push_back({"forward",
                          Hook{ChainType::kFilter, HookPoint::kForward, 0},
                          {{{Verdict{VerdictKind::kJump, "matches"}}}}});
  CheckListing(table);
}

}  // namespace edged::nftables
