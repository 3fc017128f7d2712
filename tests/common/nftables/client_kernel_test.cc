// Our client and this host's kernel, with the nft tool as the second opinion.

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
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

// Whether nft 1.0.6 can load its own listing of `table` on this kernel: it
// swaps the bytes of a protocol in a concatenation that takes ranges, which
// does nothing, and which 6.12.117 refuses. We do not send it.
bool CanReload(const Table& table) {
  const auto swaps = [](const SetWithElements& set) {
    return set.set.interval && set.set.key.size() > 1 &&
           std::ranges::count(set.set.key, Type::kInetProto) > 0;
  };
  if (std::ranges::none_of(table.sets, swaps)) return true;
  return Nft("-f -",
             "table inet probe {\n"
             "  set s { type ipv4_addr . inet_proto; flags interval; }\n"
             "  chain c { ip daddr . meta l4proto @s; }\n"
             "}\n"
             "delete table inet probe\n")
             .code == 0;
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

  if (!CanReload(table)) {
    std::cout << "SKIPPED: loading the listing of " << table.name
              << ": this kernel refuses what nft makes of it\n";
    return;
  }
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
    if (chain.name != "matches" && chain.name != "actions") continue;
    for (const Rule& rule : chain.rules) {
      pool.insert(pool.end(), rule.statements.begin(), rule.statements.end());
    }
  }
  std::mt19937 random(Catch::rngSeed());  // 0 unless --rng-seed says
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

TEST_CASE("client: names the operation and the element that are refused",
          "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = OpenClient();
  const Table table = EdgeTable();
  Make(*client, table);
  const Set& ports = table.sets[0].set;
  const auto mapping = [](uint16_t port, uint32_t mark) {
    return Element{Listener("203.0.113.1", Protocol::kTcp, port),
                   {},
                   MarkBytes(mark),
                   std::nullopt};
  };
  Transaction change(table.name);
  absl::StatusCode code = absl::StatusCode::kInternal;
  std::string wanted;
  SECTION("an element that is there with other data") {
    change.Add(AddChain{{"fresh", {}, {}}});
    change.Add(AddElements{ports, {mapping(90, 1), mapping(81, 2)}});
    change.Add(AddElements{ports, {mapping(80, 2)}});
    code = absl::StatusCode::kAlreadyExists;
    wanted =
        "add element inet edged ports4 { 203.0.113.1 . tcp . 81 : 0x00000002 }"
        ": File exists";
  }
  SECTION("an element of the second message of many") {
    std::vector<Element> many;
    for (uint16_t port = 10000; port < 15000; ++port) {
      many.push_back(mapping(port, 1));
    }
    many[4321] = mapping(1234, 1);
    change.Add(AddElements{ports, many});
    code = absl::StatusCode::kAlreadyExists;
    wanted =
        "add element inet edged ports4 { 203.0.113.1 . tcp . 1234 : 0x00000001 "
        "}: File exists";
  }
  SECTION("a missing element") {
    change.Add(DeleteElements{ports, {mapping(80, 0xed000100), mapping(7, 0)}});
    code = absl::StatusCode::kNotFound;
    wanted = "delete element inet edged ports4 { 203.0.113.1 . tcp . 7";
  }
  SECTION("a missing range") {
    const Element range{Listener("203.0.113.1", Protocol::kUdp, 61000),
                        Listener("203.0.113.1", Protocol::kUdp, 61999),
                        MarkBytes(1), std::nullopt};
    change.Add(DeleteElements{table.sets[1].set, {range}});
    code = absl::StatusCode::kNotFound;
    wanted =
        "delete element inet edged ranges4 { 203.0.113.1 . udp . 61000-61999";
  }
  SECTION("a chain that is not there") {
    change.Add(AddRule{"nowhere", {{Counter{}}}});
    code = absl::StatusCode::kNotFound;
    wanted = "add rule inet edged nowhere counter";
  }
  SECTION("a jump to a chain that is not there") {
    change.Add(
        AddRule{"translate", {{Verdict{VerdictKind::kJump, "nowhere"}}}});
    code = absl::StatusCode::kNotFound;
    wanted = "add rule inet edged translate jump nowhere: No such file";
  }
  SECTION("a chain that is still used") {
    change.Add(FlushChain{"group-1"});
    change.Add(DeleteChain{"group-1"});
    code = absl::StatusCode::kUnavailable;
    wanted = "delete chain inet edged group-1: Device or resource busy";
  }
  SECTION("a rule that nft could not read back") {
    change.Add(AddRule{"translate",
                       {{Match{Field::kIpSaddr, AddressBytes("10.0.0.1")},
                         Match{Field::kIp6Saddr, AddressBytes("fd00::1")}}}});
    code = absl::StatusCode::kInvalidArgument;
    wanted = "table edged: add rule to translate: ";
  }
  SECTION("ranges over marks") {
    change.Add(AddSet{{"marks", {Type::kMark}, {}, true, false}});
    code = absl::StatusCode::kInvalidArgument;
    wanted = "table edged: set marks: no ranges over marks";
  }
  const absl::Status status = client->Apply(change);
  INFO(status);
  CHECK(status.code() == code);
  CHECK_THAT(std::string(status.message()), Catch::StartsWith(wanted));
  CHECK(TextOf(ListOf(*client, table.name)) == TextOf(table));
}

TEST_CASE("client: turns one table into another, and back",
          "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = OpenClient();
  const Table first = EverythingTable();
  Table second = EdgeTable();
  second.name = first.name;
  Make(*client, first);
  for (const Table& wanted : {second, first, second}) {
    const Transaction change = Diff(ListOf(*client, first.name), wanted);
    REQUIRE(client->Apply(change) == absl::OkStatus());
    CHECK(LinesApart(TextOf(ListOf(*client, first.name)), TextOf(wanted)) ==
          "");
  }
  Transaction end(first.name);
  end.Add(DeleteTable{});
  CHECK(client->Apply(end) == absl::OkStatus());
  CHECK_FALSE(ListOf(*client, first.name).exists);
}

TEST_CASE("client: sees what others did to a table, and undoes it",
          "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = OpenClient();
  const Table table = EverythingTable();
  Make(*client, table);
  const std::string command = GENERATE(
      as<std::string>(), "add element inet everything groups { * : drop }",
      "add element inet everything groups { 9 : continue }",
      "add element inet everything ports { 3000-4000 }",
      "delete element inet everything ports { 1024-2047 }",
      "flush chain inet everything matches",
      "add rule inet everything other meta length 5 tcp flags syn notrack",
      "add rule inet everything other ip saddr { 10.0.0.0/8 } limit rate 1/day",
      "add set inet everything more { type ether_addr; flags timeout; }",
      "add chain inet everything late { policy drop; }",
      "add table inet everything { flags dormant; }",
      "delete table inet everything");
  INFO(command);
  const NftOutput done = Nft("'" + command + "'");
  REQUIRE(done.text == "");
  const Transaction repair = Diff(ListOf(*client, table.name), table);
  INFO(Print(repair));
  CHECK_FALSE(repair.empty());
  REQUIRE(client->Apply(repair) == absl::OkStatus());
  CHECK(LinesApart(TextOf(ListOf(*client, table.name)), TextOf(table)) == "");
  CHECK(Nft("list table inet everything").text == Print(table));
}

TEST_CASE("client: finds elements by their keys", "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = OpenClient();
  const Table table = EverythingTable();
  Make(*client, table);
  for (const SetWithElements& set : table.sets) {
    INFO(set.set.name);
    std::vector<Element> keys;
    for (Element key : set.elements) {
      Element missing{key.key, {}, {}, std::nullopt};
      missing.key.back() ^= 0x55;
      keys.push_back(missing);
      key.data.clear();
      key.verdict.reset();
      keys.push_back(key);
      keys.push_back(missing);
    }
    const auto found = client->GetElements(table.name, set.set, keys);
    REQUIRE(found.status() == absl::OkStatus());
    CHECK(*found == set.elements);
  }
  const Set absent{"absent", {Type::kMark}, {}, false, false};
  const Element one{MarkBytes(1), {}, {}, std::nullopt};
  CHECK(absl::IsNotFound(
      client->GetElements(table.name, absent, {one}).status()));
  CHECK(absl::IsNotFound(
      client->GetElements("absent", table.sets[0].set, {one}).status()));
}

TEST_CASE("client: finds thousands of elements by their keys",
          "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  constexpr uint16_t kKeys = 20'000;
  const auto client = OpenClient();
  const Set ports{"ports", {Type::kInetService}, {Type::kMark}, false, false};
  std::vector<Element> keys, there;  // every other one is there
  for (uint16_t port = 1; port <= kKeys; ++port) {
    keys.push_back({.key = PortBytes(port)});
    if (port % 2 == 0) continue;
    there.push_back({.key = PortBytes(port), .data = MarkBytes(port)});
  }
  Make(*client, {"many", {{ports, there}}, {}});
  auto found = client->GetElements("many", ports, keys);
  REQUIRE(found.status() == absl::OkStatus());
  std::ranges::sort(*found, {}, &Element::key);
  CHECK((*found == there));
  found = client->GetElements("many", ports, there);
  REQUIRE(found.status() == absl::OkStatus());
  CHECK((*found == there));  // in this order: key after key
}

TEST_CASE("client: a part of a range is not the range", "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = OpenClient();
  const Table table = EdgeTable();
  Make(*client, table);
  const auto range = [](uint16_t first, uint16_t last) {
    return Element{Listener("203.0.113.1", Protocol::kUdp, first),
                   Listener("203.0.113.1", Protocol::kUdp, last),
                   {},
                   std::nullopt};
  };
  const auto found = client->GetElements(
      table.name, table.sets[1].set,
      {range(10000, 59999), range(10001, 60000), range(20000, 20000)});
  REQUIRE(found.status() == absl::OkStatus());
  CHECK(found->empty());
}

TEST_CASE(
    "client: an empty transaction needs no kernel, a poisoned one is not "
    "sent",
    "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = OpenClient();
  CHECK(client->Apply(Transaction("edged")) == absl::OkStatus());
  Transaction poisoned("edged");
  poisoned.Add(AddTable{});
  poisoned.Add(DeleteSet{""});
  CHECK(absl::IsInvalidArgument(client->Apply(poisoned)));
  CHECK_FALSE(ListOf(*client, "edged").exists);
}

// What `call` says in a process without privileges.
std::string Unprivileged(const std::function<absl::Status()>& call) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    const absl::Status status = setresuid(kNobody, kNobody, kNobody) == 0
                                    ? call()
                                    : absl::UnknownError("setresuid");
    const std::string text = status.ToString();
    _exit(write(ends[1], text.data(), text.size()) < 0);
  }
  close(ends[1]);
  char buffer[512];
  const ssize_t size = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return {buffer, static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

TEST_CASE("client: says which privilege is missing", "[client][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const std::string wanted = "PERMISSION_DENIED: nf_tables needs CAP_NET_ADMIN";
  const auto client = OpenClient();
  CHECK(Unprivileged([] { return Client::Open().status(); }) == wanted);
  CHECK(Unprivileged([&] {
          return client->Apply(Diff(Listing{}, EdgeTable()));
        }) == wanted);
}

}  // namespace edged::nftables
