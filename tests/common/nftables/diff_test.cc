#include "common/nftables/diff.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "common/nftables/print.h"
#include "common/status.h"
#include "tests/common/nftables/random_table.h"
#include "tests/common/nftables/sample_tables.h"
#include "tests/fakes/fake_nftables_client.h"

namespace edged::nftables {
namespace {

std::string Text(const Rule& rule) { return Print(rule); }

// A kernel that holds `table`.
struct Fixture {
  explicit Fixture(const Table& table) { Change(table); }

  // Applies the difference and returns it as text. Afterwards nothing differs.
  std::string Change(const Table& wanted) {
    const Transaction change = Diff(*client.List(wanted.name), wanted, Text);
    INFO(Print(change));
    REQUIRE(client.Apply(change) == absl::OkStatus());
    CHECK(Print(Diff(*client.List(wanted.name), wanted, Text)) == "");
    return Print(change);
  }

  FakeClient client{Text};
};

Table Small() {
  Table table{"t", {}, {}};
  const Set marks{"marks", {Type::kMark}, {Type::kVerdict}, false, false};
  const Set ports{"ports", {Type::kInetService}, {Type::kMark}, true, false};
  const auto to = [](uint32_t mark, std::string chain) {
    return Element{MarkBytes(mark), {}, {}, Verdict{VerdictKind::kGoto, chain}};
  };
  table.sets = {{marks, {to(1, "one"), to(2, "two")}},
                {ports,
                 {{PortBytes(80), {}, MarkBytes(1)},
                  {PortBytes(100), PortBytes(199), MarkBytes(2)}}}};
  table.chains = {{"one", {}, {{{Counter{}}}}},
                  {"two", {}, {{{Verdict{VerdictKind::kDrop}}}}},
                  {"base",
                   Hook{ChainType::kFilter, HookPoint::kForward, 0},
                   {{{SetCtMarkFromMap{{Field::kThDport}, "ports"},
                      VerdictMap{{Field::kCtMark}, "marks"}}}}}};
  return table;
}

}  // namespace

TEST_CASE("diff: makes a table from nothing in an order the kernel takes",
          "[diff]") {
  FakeClient client(Text);
  const Transaction change = Diff(Listing{}, Small(), Text);
  CHECK(Print(change) == R"(add table inet t
add map inet t marks { type mark : verdict; }
add map inet t ports { type inet_service : mark; flags interval; }
add chain inet t one { }
add chain inet t two { }
add chain inet t base { type filter hook forward priority filter; policy accept; }
add element inet t marks { 0x00000001 : goto one, 0x00000002 : goto two }
add element inet t ports { 80 : 0x00000001, 100-199 : 0x00000002 }
add rule inet t one counter packets 0 bytes 0
add rule inet t two drop
add rule inet t base ct mark set th dport map @ports ct mark vmap @marks
)");
  CHECK(client.Apply(change) == absl::OkStatus());
  CHECK(client.Current("t") == Small());
}

TEST_CASE("diff: is empty when nothing differs", "[diff]") {
  for (const Table& table : {Small(), EdgeTable(), UplinkTable()}) {
    Fixture fixture(table);
    CHECK(Diff(*fixture.client.List(table.name), table, Text).empty());
    CHECK(fixture.client.Current(table.name) == table);
  }
}

// Two chains that give connections 3600 s, one of them UDP 30 s too.
Table WithTimeouts() {
  Table table = Small();
  const Match tcp{Field::kL4proto, ToBytes(Protocol::kTcp)};
  const Match udp{Field::kL4proto, ToBytes(Protocol::kUdp)};
  table.timeouts = {IdleTimeout(Protocol::kTcp, 3600),
                    IdleTimeout(Protocol::kUdp, 30)};
  table.chains[0].rules = {{{tcp, SetCtTimeout{"tcp-3600"}}}};
  table.chains[1].rules = {{{tcp, SetCtTimeout{"tcp-3600"}}},
                           {{udp, SetCtTimeout{"udp-30"}}}};
  return table;
}

TEST_CASE("diff: timeouts come before the rules that name them", "[diff]") {
  Fixture fixture(Small());
  CHECK(
      fixture.Change(WithTimeouts()) ==
      "flush chain inet t one\n"
      "flush chain inet t two\n"
      "add ct timeout inet t tcp-3600 "
      "{ protocol tcp; policy = { established : 3600 }; }\n"
      "add ct timeout inet t udp-30 { protocol udp; policy = { replied : 30 }; "
      "}\n"
      "add rule inet t one meta l4proto tcp ct timeout set \"tcp-3600\"\n"
      "add rule inet t two meta l4proto tcp ct timeout set \"tcp-3600\"\n"
      "add rule inet t two meta l4proto udp ct timeout set \"udp-30\"\n");
  CHECK(fixture.Change(WithTimeouts()) == "");
}

TEST_CASE("diff: a timeout goes with the last rule that names it", "[diff]") {
  Fixture fixture(WithTimeouts());
  Table wanted = WithTimeouts();
  wanted.timeouts.pop_back();
  wanted.chains[1].rules.pop_back();
  CHECK(fixture.Change(wanted) ==
        "flush chain inet t two\n"
        "delete ct timeout inet t udp-30\n"
        "add rule inet t two meta l4proto tcp ct timeout set \"tcp-3600\"\n");
}

TEST_CASE("diff: a timeout that says something else is made anew", "[diff]") {
  Table other = WithTimeouts();
  other.timeouts[0].seconds[kTcpEstablished] = 60;
  Fixture fixture(other);
  CHECK(fixture.Change(WithTimeouts()) ==
        "flush chain inet t one\n"
        "flush chain inet t two\n"
        "delete ct timeout inet t tcp-3600\n"
        "add ct timeout inet t tcp-3600 "
        "{ protocol tcp; policy = { established : 3600 }; }\n"
        "add rule inet t one meta l4proto tcp ct timeout set \"tcp-3600\"\n"
        "add rule inet t two meta l4proto tcp ct timeout set \"tcp-3600\"\n"
        "add rule inet t two meta l4proto udp ct timeout set \"udp-30\"\n");
}

TEST_CASE("diff: changes elements one by one", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  auto& ports = wanted.sets[1].elements;
  ports[0].data = MarkBytes(2);
  ports[1].key_end = PortBytes(299);
  ports.push_back({PortBytes(443), {}, MarkBytes(1)});
  CHECK(fixture.Change(wanted) ==
        "delete element inet t ports { 80, 100-199 }\n"
        "add element inet t ports { 80 : 0x00000002, 100-299 : 0x00000002, "
        "443 : 0x00000001 }\n");
}

TEST_CASE("diff: a range of one is the single key", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  wanted.sets[1].elements[0].key_end = PortBytes(80);
  CHECK(fixture.Change(wanted) == "");
}

TEST_CASE("diff: the order of elements does not matter", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  std::swap(wanted.sets[0].elements[0], wanted.sets[0].elements[1]);
  std::swap(wanted.sets[1].elements[0], wanted.sets[1].elements[1]);
  CHECK(fixture.Change(wanted) == "");
}

TEST_CASE("diff: a listing with an element twice is not deleted twice",
          "[diff]") {
  Fixture fixture(Small());
  Listing listing = *fixture.client.List("t");
  auto& elements = listing.sets.at("ports").elements;
  elements.push_back(elements[0]);
  Table wanted = Small();
  CHECK(Print(Diff(listing, wanted, Text)) == "");
  wanted.sets[1].elements.erase(wanted.sets[1].elements.begin());
  CHECK(Print(Diff(listing, wanted, Text)) ==
        "delete element inet t ports { 80 }\n");
}

TEST_CASE("diff: rewrites a chain with a wrong rule, and no other", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  wanted.chains[0].rules.push_back({{Verdict{VerdictKind::kAccept}}});
  CHECK(fixture.Change(wanted) ==
        "flush chain inet t one\n"
        "add rule inet t one counter packets 0 bytes 0\n"
        "add rule inet t one accept\n");
  wanted.chains[0].rules.clear();
  CHECK(fixture.Change(wanted) == "flush chain inet t one\n");
  wanted = Small();
  CHECK(fixture.Change(wanted) ==
        "add rule inet t one counter packets 0 bytes 0\n");
}

TEST_CASE("diff: moves a group in and another out", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  wanted.chains[1].name = "three";
  wanted.sets[0].elements[1] = {
      MarkBytes(2), {}, {}, Verdict{VerdictKind::kGoto, "three"}};
  CHECK(fixture.Change(wanted) ==
        "flush chain inet t two\n"
        "delete element inet t marks { 0x00000002 }\n"
        "delete chain inet t two\n"
        "add chain inet t three { }\n"
        "add element inet t marks { 0x00000002 : goto three }\n"
        "add rule inet t three drop\n");
}

TEST_CASE("diff: remakes a set of another type with the rules that use it",
          "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  wanted.sets[1].set.counter = true;
  CHECK(fixture.Change(wanted) ==
        "flush chain inet t base\n"
        "delete map inet t ports\n"
        "add map inet t ports { type inet_service : mark; flags interval; "
        "counter; }\n"
        "add element inet t ports { 80 : 0x00000001, 100-199 : 0x00000002 }\n"
        "add rule inet t base ct mark set th dport map @ports ct mark vmap "
        "@marks\n");
}

TEST_CASE("diff: empties a verdict map before it deletes it", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  wanted.sets.erase(wanted.sets.begin());
  wanted.chains = {Small().chains[2]};
  wanted.chains[0].rules = {{{SetCtMarkFromMap{{Field::kThDport}, "ports"}}}};
  CHECK(fixture.Change(wanted) ==
        "flush chain inet t base\n"
        "flush chain inet t one\n"
        "flush chain inet t two\n"
        "flush map inet t marks\n"
        "delete map inet t marks\n"
        "delete chain inet t one\n"
        "delete chain inet t two\n"
        "add rule inet t base ct mark set th dport map @ports\n");
}

TEST_CASE("diff: remakes a base chain of another hook", "[diff]") {
  Fixture fixture(Small());
  Table wanted = Small();
  wanted.chains[2].hook->priority = -5;
  CHECK(fixture.Change(wanted) ==
        "flush chain inet t base\n"
        "delete chain inet t base\n"
        "add chain inet t base { type filter hook forward priority filter - 5; "
        "policy accept; }\n"
        "add rule inet t base ct mark set th dport map @ports ct mark vmap "
        "@marks\n");
}

TEST_CASE("diff: a chain that gets or loses its hook takes its users along",
          "[diff]") {
  Table hooked = Small();
  hooked.sets[0].elements.pop_back();
  hooked.chains[1].hook = Hook{ChainType::kFilter, HookPoint::kInput, 0};
  Table plain = Small();
  plain.chains[2].rules.push_back({{Verdict{VerdictKind::kJump, "two"}}});
  Fixture fixture(hooked);
  fixture.Change(plain);
  CHECK(fixture.Change(hooked) ==
        "flush chain inet t two\n"
        "flush chain inet t base\n"
        "delete element inet t marks { 0x00000002 }\n"
        "delete chain inet t two\n"
        "add chain inet t two { type filter hook input priority filter; "
        "policy accept; }\n"
        "add rule inet t two drop\n"
        "add rule inet t base ct mark set th dport map @ports ct mark vmap "
        "@marks\n");
}

TEST_CASE("diff: an unchanged element that goes to a remade chain is renewed",
          "[diff]") {
  Fixture fixture(Small());
  Listing listing = *fixture.client.List("t");
  listing.chains.at("two").hook =
      Hook{ChainType::kFilter, HookPoint::kInput, 0};
  CHECK(Print(Diff(listing, Small(), Text)) ==
        "flush chain inet t two\n"
        "delete element inet t marks { 0x00000002 }\n"
        "delete chain inet t two\n"
        "add chain inet t two { }\n"
        "add element inet t marks { 0x00000002 : goto two }\n"
        "add rule inet t two drop\n");
}

TEST_CASE("diff: sets a foreign drop policy back in place", "[diff]") {
  Fixture fixture(Small());
  Listing listing = *fixture.client.List("t");
  listing.chains.at("base").policy_accept = false;
  CHECK(Print(Diff(listing, Small(), Text)) ==
        "add chain inet t base { type filter hook forward priority filter; "
        "policy accept; }\n");
}

TEST_CASE("diff: deletes what the table does not name", "[diff]") {
  Fixture fixture(EdgeTable());
  fixture.Change(Table{"edged", {}, {}});
  CHECK(fixture.client.Current("edged") == Table{"edged", {}, {}});
}

TEST_CASE("diff: leads from any table to any other", "[diff]") {
  std::mt19937 random(Catch::rngSeed());
  Fixture fixture(RandomTable(random));
  for (int round = 0; round < 100; ++round) {
    fixture.Change(RandomTable(random));
  }
}

TEST_CASE("diff: 60,000 elements that agree cost no copy, one change one",
          "[diff]") {
  Table table = EdgeTable();
  auto& elements = table.sets[0].elements;
  elements.clear();
  for (int port = 1; port <= 60000; ++port) {
    elements.push_back({Listener("203.0.113.1", Protocol::kTcp, port),
                        {},
                        MarkBytes(0xed000100)});
  }
  Fixture fixture(table);
  elements[30000].data = MarkBytes(0xed000200);
  CHECK(fixture.Change(table) ==
        "delete element inet edged ports4 { 203.0.113.1 . tcp . 30001 }\n"
        "add element inet edged ports4 { 203.0.113.1 . tcp . 30001 : "
        "0xed000200 }\n");
}

}  // namespace edged::nftables
