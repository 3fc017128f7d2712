// Our client and this host's kernel, with the nft tool as the second opinion.

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "common/nftables/check.h"
#include "common/nftables/client.h"
#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

std::unique_ptr<Client> OpenClient() {
  Nft("flush ruleset");
  auto client = Client::Open();
  REQUIRE(client.status() == absl::OkStatus());
  return *std::move(client);
}

Listing ListOf(Client& client, const std::string& table) {
  auto listing = client.List(table);
  REQUIRE(listing.status() == absl::OkStatus());
  return *std::move(listing);
}

void Make(Client& client, const Table& table) {
  REQUIRE(client.Apply(Diff(Listing{}, table)) == absl::OkStatus());
}

// A listing as text to compare: what differs stands on a line of its own.
std::string TextOf(const Listing& listing) {
  std::string text;
  for (const auto& [name, set] : listing.sets) {
    text += fmt::format("set {} {} {}{}\n", name, set.set.key.size(),
                        set.set.interval ? "interval " : "",
                        set.set.counter ? "counter" : "");
    for (const Element& element : set.elements) {
      text += fmt::format("  {}\n", Print(element, set.set));
    }
  }
  for (const auto& [name, chain] : listing.chains) {
    text += fmt::format(
        "chain {}{}{}\n", name,
        chain.hook ? fmt::format(" at {}", chain.hook->priority) : "",
        chain.policy_accept ? "" : " drops");
    for (const ListedRule& rule : chain.rules) {
      text += fmt::format("  {}\n", rule.expressions);
    }
  }
  return text;
}

// The same, as it should be.
std::string TextOf(const Table& table) {
  Listing wanted;
  for (const SetWithElements& set : table.sets) {
    wanted.sets[set.set.name] = set;
    std::ranges::sort(wanted.sets[set.set.name].elements, {}, &Element::key);
  }
  for (const Chain& chain : table.chains) {
    ListedChain& listed = wanted.chains[chain.name];
    listed.hook = chain.hook;
    for (const Rule& rule : chain.rules) {
      listed.rules.push_back({0, ExpressionsOf(rule)});
    }
  }
  return TextOf(wanted);
}

// The lines in which two texts differ; empty when they are equal.
std::string LinesApart(const std::string& actual, const std::string& wanted) {
  std::istringstream left(actual), right(wanted);
  std::string difference;
  for (;;) {
    std::string line, other;
    const bool more = static_cast<bool>(std::getline(left, line));
    const bool more_wanted = static_cast<bool>(std::getline(right, other));
    if (!more && !more_wanted) return difference;
    if (line != other) difference += fmt::format("- {}\n+ {}\n", other, line);
  }
}

void CheckTable(const Table& table) {
  const auto client = OpenClient();
  Make(*client, table);
  const Listing listing = ListOf(*client, table.name);
  CHECK(LinesApart(TextOf(listing), TextOf(table)) == "");
  CHECK(Print(Diff(listing, table)) == "");

  const std::string text = Nft("list table inet " + table.name).text;
  CHECK(LinesApart(text, Print(table)) == "");
  CHECK(Nft("-j list table inet " + table.name).code == 0);

  // What an administrator saves and loads again is what we made.
  REQUIRE(Nft("delete table inet " + table.name).code == 0);
  const NftOutput loaded = Nft("-f -", text);
  REQUIRE(loaded.text == "");
  const Listing reloaded = ListOf(*client, table.name);
  CHECK(LinesApart(TextOf(reloaded), TextOf(listing)) == "");
  CHECK(Print(Diff(reloaded, table)) == "");
}

}  // namespace

TEST_CASE("client: makes tables that nft lists and that reload unchanged",
          "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  SECTION("edge") { CheckTable(EdgeTable()); }
  SECTION("uplink") { CheckTable(UplinkTable()); }
  SECTION("every statement, field and type") { CheckTable(EverythingTable()); }
  SECTION("nothing") { CheckTable(Table{"nothing", {}, {}}); }
}

TEST_CASE("client: any rule that the checks let through reloads unchanged",
          "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const Table source = EverythingTable();
  std::vector<Statement> pool;
  for (const Chain& chain : source.chains) {
    if (chain.hook && chain.hook->type == ChainType::kNat) continue;
    for (const Rule& rule : chain.rules) {
      pool.insert(pool.end(), rule.statements.begin(), rule.statements.end());
    }
  }
  constexpr int kSeed = 4711;
  std::mt19937 random(kSeed);
  Chain chain{"matches", {}, {}};
  while (chain.rules.size() < 400) {
    Rule rule;
    for (size_t count = 2 + random() % 3; count > 0; --count) {
      rule.statements.push_back(pool[random() % pool.size()]);
    }
    if (CheckRule(rule).ok()) chain.rules.push_back(std::move(rule));
  }
  CheckTable(Table{"mixed",
                   source.sets,
                   {{"other", {}, {}},
                    chain,
                    {"forward",
                     Hook{ChainType::kFilter, HookPoint::kForward, 0},
                     {{{Verdict{VerdictKind::kJump, "matches"}}}}}}});
}

}  // namespace edged::nftables
