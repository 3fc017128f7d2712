#include "common/nftables/program_codec.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netlink.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "common/nftables/expressions.h"
#include "common/nftables/program_text.h"
#include "common/nftables/rule_compiler.h"
#include "common/nftables/table_message.h"
#include "common/nftables/trace.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

using netlink::MessageBuilder;
using netlink::MessageView;

std::vector<uint8_t> BytesOf(MessageBuilder& message) {
  const auto bytes = message.Finish();
  REQUIRE(bytes.status() == absl::OkStatus());
  return {bytes->begin(), bytes->end()};
}

MessageView ViewOf(const std::vector<uint8_t>& bytes, size_t size) {
  nlmsghdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return {
      .type = header.nlmsg_type,
      .payload = std::span(bytes).subspan(sizeof header, size - sizeof header)};
}

std::vector<uint8_t> RuleMessage(const Rule& rule) {
  const auto compiled = Compile(rule, 1);
  REQUIRE(compiled.status() == absl::OkStatus());
  MessageBuilder message = TableMessage(NFT_MSG_NEWRULE);
  message.PutString(NFTA_RULE_TABLE, "t");
  message.PutString(NFTA_RULE_CHAIN, "c");
  PutExpressions(compiled->expressions, message);
  return BytesOf(message);
}

AnyTable EmptyTable() { return {.family = NFPROTO_INET, .name = "t"}; }

template <typename Info>
std::string XtText(const char* name, uint32_t revision, const Info& info) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&info);
  AnyTable table{.family = NFPROTO_IPV4, .name = "filter"};
  return ProgramText(
      ProgramOfXtMatch(name, revision, std::span(bytes, sizeof info)), table);
}

std::vector<uint8_t> TraceMessage() {
  MessageBuilder message = TableMessage(NFT_MSG_TRACE);
  message.PutString(NFTA_TRACE_TABLE, "filter");
  message.PutString(NFTA_TRACE_CHAIN, "input");
  message.PutBe32(NFTA_TRACE_ID, 7);
  message.PutBe32(NFTA_TRACE_TYPE, NFT_TRACETYPE_RULE);
  const size_t verdict = message.BeginNest(NFTA_TRACE_VERDICT);
  message.PutBe32(NFTA_VERDICT_CODE, static_cast<uint32_t>(NFT_JUMP));
  message.PutString(NFTA_VERDICT_CHAIN, "more");
  message.EndNest(verdict);
  message.PutBe32(NFTA_TRACE_IIF, 2);
  std::vector<uint8_t> network(40);
  network[0] = 0x45;
  network[9] = 17;
  const std::vector<uint8_t> addresses{198, 51, 100, 9, 203, 0, 113, 1};
  std::copy(addresses.begin(), addresses.end(), network.begin() + 12);
  message.Put(NFTA_TRACE_NETWORK_HEADER, network);
  message.Put(NFTA_TRACE_TRANSPORT_HEADER,
              std::vector<uint8_t>{0x0f, 0xa0, 0x1b, 0x58, 0, 0, 0, 0});
  return BytesOf(message);
}

}  // namespace

TEST_CASE("program_codec: every rule that we make reads as it prints",
          "[program]") {
  const Match tcp{Field::kL4proto, ToBytes(Protocol::kTcp)};
  const Rule rules[] = {
      {{tcp, Match{Field::kThDport, PortBytes(80)}, SetTrace{}}},
      {{MatchPathMtu{1280}, Verdict{VerdictKind::kDrop}}},
      {{tcp, Match{Field::kThSport, PortBytes(80)}, NoTrack{}}},
      {{Match{Field::kIifname, NameBytes("edged0")},
        Match{Field::kCtState, MarkBytes(kCtEstablished | kCtRelated)},
        Verdict{VerdictKind::kAccept}}},
      {{Match{Field::kIpSaddr, AddressBytes("192.0.2.1"), true},
        Verdict{VerdictKind::kDrop}}},
      {{Match{.field = Field::kIp6Daddr,
              .value = AddressBytes("fd00::"),
              .mask = AddressBytes("ff00::")},
        Verdict{VerdictKind::kJump, "more"}}},
  };
  std::string text;
  for (const Rule& rule : rules) {
    const auto bytes = RuleMessage(rule);
    const auto view = ReadAnyRule(ViewOf(bytes, bytes.size()));
    REQUIRE(view.status() == absl::OkStatus());
    text += ProgramText(view->rule.program, EmptyTable()) + "\n";
  }
  CHECK(text ==
        "tcp dport 80 meta nftrace set ...\n"
        "iifname \"edged0\" ct state established,related accept\n"
        "ip saddr != 192.0.2.1 drop\n"
        "ip6 daddr fd00::/8 jump more\n");
}

TEST_CASE("program_codec: survives truncation at every byte", "[program]") {
  for (const Table& table : {EdgeTable(), UplinkTable(), EverythingTable()}) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        const auto bytes = RuleMessage(rule);
        for (size_t size = sizeof(nlmsghdr); size <= bytes.size(); ++size) {
          const auto view = ReadAnyRule(ViewOf(bytes, size));
          if (view.ok()) {
            ProgramText(view->rule.program, EmptyTable());
          } else {
            CHECK(absl::IsInvalidArgument(view.status()));
          }
        }
      }
    }
  }
}

TEST_CASE("program_codec: an unknown expression stays a name", "[program]") {
  MessageBuilder message = TableMessage(NFT_MSG_NEWRULE);
  const size_t list = message.BeginNest(NFTA_RULE_EXPRESSIONS);
  const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
  message.PutString(NFTA_EXPR_NAME, "newest");
  message.EndNest(entry);
  message.EndNest(list);
  const auto bytes = BytesOf(message);
  const auto view = ReadAnyRule(ViewOf(bytes, bytes.size()));
  REQUIRE(view.status() == absl::OkStatus());
  CHECK(view->rule.program == Program{LoadUnknown{"newest"}});
}

TEST_CASE("program_codec: matches of iptables in nft's words", "[program]") {
  xt_conntrack_mtinfo3 state{};
  state.match_flags = XT_CONNTRACK_STATE;
  state.state_mask = kCtEstablished | kCtRelated;
  CHECK(XtText("conntrack", 3, state) == "ct state established,related");
  state.invert_flags = XT_CONNTRACK_STATE;
  CHECK(XtText("conntrack", 3, state) == "ct state ! established,related");
  state.match_flags |= XT_CONNTRACK_ORIGDST;
  CHECK(XtText("conntrack", 3, state) == "<xt match conntrack>");
  state.match_flags = XT_CONNTRACK_STATE;
  state.invert_flags = 0;
  state.state_mask = XT_CONNTRACK_STATE_DNAT;
  CHECK(XtText("conntrack", 3, state) == "ct status dnat");

  xt_tcp tcp{};
  tcp.spts[1] = 65535;
  tcp.dpts[0] = 80;
  tcp.dpts[1] = 90;
  CHECK(XtText("tcp", 0, tcp) == "th dport 80-90");
  tcp.invflags = XT_TCP_INV_DSTPT;
  CHECK(XtText("tcp", 0, tcp) == "th dport != 80-90");

  xt_multiport_v1 ports{};
  ports.flags = XT_MULTIPORT_DESTINATION;
  ports.count = 3;
  ports.ports[0] = 80;
  ports.ports[1] = 8000;
  ports.pflags[1] = 1;
  ports.ports[2] = 8010;
  CHECK(XtText("multiport", 1, ports) == "th dport { 80, 8000-8010 }");

  CHECK(XtText("comment", 0, tcp) == "");
  CHECK(XtText("recent", 0, tcp) == "<xt match recent>");
  CHECK(XtText("conntrack", 3, uint8_t{1}) == "<xt match conntrack>");
}

TEST_CASE("trace: reads an event", "[trace]") {
  const auto bytes = TraceMessage();
  const auto event = ReadTraceEvent(ViewOf(bytes, bytes.size()));
  REQUIRE(event.status() == absl::OkStatus());
  CHECK(event->id == 7);
  CHECK(event->table == "filter");
  CHECK(event->verdict == TraceVerdict::kJump);
  CHECK(event->target == "more");
  REQUIRE(event->packet);
  CHECK(event->packet->source == Address("198.51.100.9"));
  CHECK(event->packet->destination == Address("203.0.113.1"));
  CHECK(event->packet->source_port == 4000);
  CHECK(event->packet->destination_port == 7000);
  CHECK(event->packet->in == 2);
}

TEST_CASE("trace: survives truncation at every byte", "[trace]") {
  const auto bytes = TraceMessage();
  for (size_t size = sizeof(nlmsghdr); size <= bytes.size(); ++size) {
    const auto event = ReadTraceEvent(ViewOf(bytes, size));
    if (!event.ok()) CHECK(absl::IsInvalidArgument(event.status()));
  }
}

TEST_CASE("program_text: a set is asked for what nobody knows the size of",
          "[program]") {
  const Program program{LoadUnknown{"hash", 1}, LookUp{"uplinks", 1}};
  CHECK_THAT(ProgramText(program, EmptyTable()), Catch::Contains("@uplinks"));
}

}  // namespace edged::nftables
