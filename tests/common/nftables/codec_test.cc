// What we send and what we read back, as bytes: rules, sets, chains, elements.

#include <endian.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "common/nftables/chain_codec.h"
#include "common/nftables/element_codec.h"
#include "common/nftables/expressions.h"
#include "common/nftables/listing.h"
#include "common/nftables/rule_compiler.h"
#include "common/nftables/set_codec.h"
#include "common/nftables/table_message.h"
#include "common/nftables/timeout_codec.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

using netlink::MessageBuilder;
using netlink::MessageView;

// A message as it is received.
MessageView ViewOf(MessageBuilder& message) {
  MessageView view;
  REQUIRE(netlink::ForEachMessage(message.Finish().value(),
                                  [&](const MessageView& each) {
                                    view = each;
                                    return absl::OkStatus();
                                  }) == absl::OkStatus());
  return view;
}

// Reads the message cut after every byte. What is read does not matter, only
// that nothing beyond the end is: each piece lies at the end of memory of its
// own, where sanitizers see it.
void SurvivesTruncation(MessageBuilder& message,
                        const std::function<void(const MessageView&)>& read) {
  const MessageView whole = ViewOf(message);
  for (size_t size = 0; size < whole.payload.size(); ++size) {
    const std::vector<uint8_t> piece(whole.payload.begin(),
                                     whole.payload.begin() + size);
    MessageView cut = whole;
    cut.payload = piece;
    read(cut);
  }
}

std::vector<Table> SampleTables() {
  return {EdgeTable(), UplinkTable(), EverythingTable()};
}

Element Range(uint16_t first, uint16_t last) {
  Element element{PortBytes(first), {}, {}, std::nullopt};
  if (last != first) element.key_end = PortBytes(last);
  return element;
}

std::vector<Entry> EntriesIn(const MessageView& message) {
  std::vector<Entry> entries;
  REQUIRE(ForEachEntry(message, [&](const Entry& entry) {
            entries.push_back(entry);
            return absl::OkStatus();
          }) == absl::OkStatus());
  return entries;
}

MessageBuilder ElementsMessage(const std::vector<Element>& elements,
                               bool split) {
  MessageBuilder message = TableMessage(NFT_MSG_NEWSETELEM);
  message.PutString(NFTA_SET_ELEM_LIST_TABLE, "edged");
  const size_t list = message.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
  for (const Element& element : elements) PutElement(element, split, message);
  message.EndNest(list);
  return message;
}

MessageBuilder RuleMessage(const Rule& rule) {
  MessageBuilder message = TableMessage(NFT_MSG_NEWRULE);
  message.PutString(NFTA_RULE_TABLE, "edged");
  message.PutString(NFTA_RULE_CHAIN, "translate");
  message.PutU64(NFTA_RULE_HANDLE, htobe64(42));
  PutExpressions(Compile(rule, 1).value().expressions, message);
  return message;
}

std::string NameOnly(std::string_view name, uint32_t) {
  return "@" + std::string(name);
}

Rule RuleOf(std::vector<Statement> statements) {
  return {std::move(statements)};
}

}  // namespace

TEST_CASE("codec: sets come back as they were sent", "[codec]") {
  for (const Table& table : SampleTables()) {
    for (const SetWithElements& set : table.sets) {
      INFO(set.set.name);
      MessageBuilder message = TableMessage(NFT_MSG_NEWSET);
      PutSet(LayoutOf(set.set).value(), table.name, message);
      const SetView view = ReadSet(ViewOf(message)).value();
      CHECK(view.table == table.name);
      CHECK(view.set == set.set);
      CHECK_FALSE(view.anonymous);
      SurvivesTruncation(
          message, [](const MessageView& cut) { (void)ReadSet(cut).status(); });
    }
  }
}

TEST_CASE("codec: a set of a kind that we never make has no key", "[codec]") {
  const Set marks{"marks", {Type::kMark}, {}, false, false};
  SetLayout layout = LayoutOf(marks).value();
  SECTION("elements that time out") { layout.flags |= NFT_SET_TIMEOUT; }
  SECTION("a type that we do not use") { layout.key.id = 5; }
  SECTION("no type") { layout.key.id = 0; }
  SECTION("data of a type that we do not use") {
    layout.flags |= NFT_SET_MAP;
    layout.data = {4, 4, ByteOrder::kHost};
  }
  MessageBuilder message = TableMessage(NFT_MSG_NEWSET);
  PutSet(layout, "edged", message);
  CHECK(ReadSet(ViewOf(message))->set.key.empty());
}

TEST_CASE("codec: chains come back as they were sent", "[codec]") {
  for (const Table& table : SampleTables()) {
    for (const Chain& chain : table.chains) {
      MessageBuilder message = TableMessage(NFT_MSG_NEWCHAIN);
      PutChain(chain, table.name, message);
      const ChainView view = ReadChain(ViewOf(message)).value();
      CHECK(view.table == table.name);
      CHECK(view.name == chain.name);
      CHECK(view.chain == ListedChain{chain.hook, true, {}});
      SurvivesTruncation(message, [](const MessageView& cut) {
        (void)ReadChain(cut).status();
      });
    }
  }
}

TEST_CASE("codec: a hook that is not ours equals none of ours", "[codec]") {
  MessageBuilder message = TableMessage(NFT_MSG_NEWCHAIN);
  const size_t hook = message.BeginNest(NFTA_CHAIN_HOOK);
  constexpr uint32_t kIngress = 5;
  message.PutBe32(NFTA_HOOK_HOOKNUM, kIngress);
  message.EndNest(hook);
  message.PutString(NFTA_CHAIN_TYPE, "filter");
  const ChainView view = ReadChain(ViewOf(message)).value();
  REQUIRE(view.chain.hook.has_value());
  for (const HookPoint point :
       {HookPoint::kPrerouting, HookPoint::kInput, HookPoint::kForward,
        HookPoint::kOutput, HookPoint::kPostrouting}) {
    CHECK(view.chain.hook->point != point);
  }
}

TEST_CASE("codec: elements come back as they were sent", "[codec]") {
  for (const Table& table : SampleTables()) {
    for (const SetWithElements& set : table.sets) {
      INFO(set.set.name);
      const bool split = SplitsRanges(set.set);
      MessageBuilder message = ElementsMessage(set.elements, split);
      const std::vector<Entry> entries = EntriesIn(ViewOf(message));
      std::vector<Element> elements;
      if (split) {
        elements = JoinRanges(entries);
      } else {
        for (const Entry& entry : entries) {
          CHECK_FALSE(entry.foreign);
          elements.push_back(entry.element);
        }
      }
      CHECK(elements == set.elements);
      SurvivesTruncation(message, [](const MessageView& cut) {
        (void)ForEachEntry(cut, [](const Entry&) { return absl::OkStatus(); });
      });
    }
  }
}

TEST_CASE("codec: ranges over one value are two entries each", "[codec]") {
  const std::vector<Element> ranges = {Range(0, 9), Range(10, 19),
                                       Range(20, 20), Range(30, 39),
                                       Range(65000, 65535)};
  MessageBuilder message = ElementsMessage(ranges, true);
  std::vector<Entry> entries = EntriesIn(ViewOf(message));
  // The highest key has none after it, so the last range has no end.
  CHECK(entries.size() == 2 * ranges.size() - 1);
  CHECK(JoinRanges(entries) == ranges);
  SECTION("in any order") {
    std::ranges::reverse(entries);
    CHECK(JoinRanges(entries) == ranges);
  }
  SECTION("with the end before the first one that nft puts") {
    entries = EntriesIn(ViewOf(message));
    entries.erase(entries.begin());
    Entry end;
    end.element.key = PortBytes(0);
    end.is_end = true;
    entries.push_back(end);
    CHECK(JoinRanges(entries) ==
          std::vector<Element>(ranges.begin() + 1, ranges.end()));
  }
}

TEST_CASE("codec: an offset names the entry that it lies in", "[codec]") {
  const std::vector<Element> elements = {Range(1, 1), Range(2, 5), Range(7, 7)};
  MessageBuilder message = ElementsMessage(elements, false);
  const auto bytes = message.Finish().value();
  std::vector<size_t> seen;
  for (uint32_t offset = 0; offset < bytes.size(); ++offset) {
    const auto entry = EntryAt(bytes, offset);
    if (entry && (seen.empty() || seen.back() != *entry)) {
      seen.push_back(*entry);
    }
  }
  CHECK(seen == std::vector<size_t>{0, 1, 2});
  CHECK_FALSE(EntryAt(bytes, 0).has_value());
  CHECK_FALSE(EntryAt(bytes, bytes.size()).has_value());
}

// libnftnl writes an object's name without its final 0, which the kernel adds:
// client_kernel_test.cc reads those.
bool NamesObject(const Rule& rule) {
  return std::ranges::any_of(rule.statements, [](const Statement& statement) {
    return std::holds_alternative<SetCtTimeout>(statement);
  });
}

TEST_CASE("codec: rules come back as they were sent", "[codec]") {
  for (const Table& table : SampleTables()) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        if (NamesObject(rule)) continue;
        MessageBuilder message = RuleMessage(rule);
        const RuleView view = ReadRule(ViewOf(message), NameOnly).value();
        CHECK(view.table == "edged");
        CHECK(view.chain == "translate");
        CHECK(view.handle == 42);
        CHECK(view.expressions ==
              ExpressionsText(Compile(rule, 1)->expressions, NameOnly));
        SurvivesTruncation(message, [](const MessageView& cut) {
          (void)ReadRule(cut, NameOnly).status();
        });
      }
    }
  }
}

TEST_CASE("codec: a rule that libnftnl cannot read is like no other",
          "[codec]") {
  MessageBuilder message = TableMessage(NFT_MSG_NEWRULE);
  message.PutString(NFTA_RULE_TABLE, "edged");
  message.PutString(NFTA_RULE_CHAIN, "translate");
  message.PutU64(NFTA_RULE_HANDLE, htobe64(7));
  const size_t list = message.BeginNest(NFTA_RULE_EXPRESSIONS);
  const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
  message.PutString(NFTA_EXPR_NAME, "of-a-later-kernel");
  message.EndNest(entry);
  message.EndNest(list);
  const RuleView view = ReadRule(ViewOf(message), NameOnly).value();
  CHECK(view.handle == 7);
  CHECK(view.expressions == "unreadable rule 7");
}

// Reads a rule whose one expression is what `put` puts.
std::string RuleTextOf(const std::function<void(MessageBuilder&)>& put) {
  MessageBuilder message = TableMessage(NFT_MSG_NEWRULE);
  message.PutU64(NFTA_RULE_HANDLE, htobe64(7));
  const size_t list = message.BeginNest(NFTA_RULE_EXPRESSIONS);
  const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
  put(message);
  message.EndNest(entry);
  message.EndNest(list);
  return ReadRule(ViewOf(message), NameOnly).value().expressions;
}

TEST_CASE("codec: an expression of another shape never reaches libnftnl",
          "[codec]") {
  const auto counter = [](size_t size) {
    return RuleTextOf([size](MessageBuilder& message) {
      message.PutString(NFTA_EXPR_NAME, "counter");
      const size_t data = message.BeginNest(NFTA_EXPR_DATA);
      message.Put(NFTA_COUNTER_BYTES, std::vector<uint8_t>(size));
      message.EndNest(data);
    });
  };
  CHECK(counter(8) == "[counter]");
  CHECK(counter(4) == "unreadable rule 7");
  const auto jump = [](bool with_chain) {
    return RuleTextOf([with_chain](MessageBuilder& message) {
      message.PutString(NFTA_EXPR_NAME, "immediate");
      const size_t data = message.BeginNest(NFTA_EXPR_DATA);
      message.PutBe32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
      const size_t value = message.BeginNest(NFTA_IMMEDIATE_DATA);
      const size_t verdict = message.BeginNest(NFTA_DATA_VERDICT);
      message.PutBe32(NFTA_VERDICT_CODE, static_cast<uint32_t>(NFT_JUMP));
      if (with_chain) message.PutString(NFTA_VERDICT_CHAIN, "next");
      message.EndNest(verdict);
      message.EndNest(value);
      message.EndNest(data);
    });
  };
  CHECK(jump(true) == "[immediate reg 0 jump -> next]");
  CHECK(jump(false) == "unreadable rule 7");
  CHECK(RuleTextOf([](MessageBuilder& message) {
          message.EndNest(message.BeginNest(NFTA_EXPR_DATA));
        }) == "unreadable rule 7");
  CHECK(RuleTextOf([](MessageBuilder& message) {
          message.Put(NFTA_EXPR_NAME, {});
        }) == "unreadable rule 7");
}

TEST_CASE("expressions: one text for all that does the same", "[codec]") {
  const Match tcp{Field::kL4proto, ToBytes(Protocol::kTcp)};
  const Match ipv4{Field::kNfproto, {2}};
  const Match from{Field::kIpSaddr, AddressBytes("192.0.2.1")};
  const Match port{Field::kThDport, PortBytes(80)};
  const Verdict drop{VerdictKind::kDrop};
  const std::string text = ExpressionsOf(RuleOf({from, tcp, port, drop}));
  CHECK(ExpressionsOf(RuleOf({tcp, from, port, drop})) == text);
  CHECK(ExpressionsOf(RuleOf({ipv4, tcp, from, port, drop})) == text);
  CHECK(ExpressionsOf(RuleOf({from, port, drop})) != text);
  // A check behind an action is not one before it.
  CHECK(ExpressionsOf(RuleOf({Counter{}, from, drop})) !=
        ExpressionsOf(RuleOf({from, Counter{}, drop})));
  CHECK(ExpressionsOf(RuleOf({ipv4, Counter{}, from, drop})) ==
        ExpressionsOf(RuleOf({ipv4, Counter{}, ipv4, from, drop})));
}

TEST_CASE("expressions: anonymous sets are told by their elements", "[codec]") {
  const auto any_of = [](std::vector<Bytes> ports) {
    return ExpressionsOf(RuleOf({MatchAnyOf{Field::kThDport, ports}}));
  };
  const std::string text = any_of({PortBytes(80), PortBytes(443)});
  CHECK(text ==
        "[payload load 2b @ transport header + 2 => reg 1]"
        "[lookup reg 1 set { 0050, 01bb }]");
  CHECK(any_of({PortBytes(443), PortBytes(80)}) == text);
  CHECK(any_of({PortBytes(443), PortBytes(80), PortBytes(80)}) == text);
  CHECK(any_of({PortBytes(443), PortBytes(81)}) != text);
}

TEST_CASE("expressions: a rule that is refused says so", "[codec]") {
  CHECK_THAT(ExpressionsOf(RuleOf({})), Catch::StartsWith("refused: "));
}

TEST_CASE("codec: timeouts come back as they were sent", "[codec]") {
  for (const CtTimeout& timeout :
       {IdleTimeout(Protocol::kTcp, 3600), IdleTimeout(Protocol::kUdp, 2)}) {
    MessageBuilder message = TableMessage(NFT_MSG_NEWOBJ);
    PutTimeout(timeout, "edged", message);
    const TimeoutView view = ReadTimeout(ViewOf(message)).value();
    CHECK(view.table == "edged");
    CHECK(view.is_timeout);
    CHECK(view.timeout == timeout);
    SurvivesTruncation(message, [](const MessageView& cut) {
      (void)ReadTimeout(cut).status();
    });
  }
}

}  // namespace edged::nftables
