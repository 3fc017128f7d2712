// Rules, sets and chains as nf_tables lists them. What others put into our
// table is read, too; the rules of all others as doctor reads them, and the
// steps of packets as trace does.

#include <endian.h>
#include <linux/netfilter/nf_tables.h>

#include <string>

#include "common/nftables/chain_codec.h"
#include "common/nftables/check.h"
#include "common/nftables/expressions.h"
#include "common/nftables/print.h"
#include "common/nftables/program_codec.h"
#include "common/nftables/program_text.h"
#include "common/nftables/rule_compiler.h"
#include "common/nftables/set_codec.h"
#include "common/nftables/table_message.h"
#include "common/nftables/timeout_codec.h"
#include "common/nftables/trace.h"
#include "common/status.h"
#include "tests/common/nftables/sample_tables.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

using netlink::MessageBuilder;
using netlink::MessageView;

std::string NameOnly(std::string_view name, uint32_t) {
  return "@" + std::string(name);
}

// A set that we would make is made as it was read.
void TryMaking(const nftables::SetView& view) {
  const auto layout = nftables::LayoutOf(view.set);
  if (!layout.ok()) return;
  MessageBuilder message = nftables::TableMessage(NFT_MSG_NEWSET);
  nftables::PutSet(*layout, "edged", message);
  const std::string bytes = Finished(std::move(message));
  const absl::Status status = netlink::ForEachMessage(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
      [&](const MessageView& again) -> absl::Status {
        ASSIGN_OR_RETURN(const auto made, nftables::ReadSet(again));
        Require(made.set == view.set, "a set is read as it was made");
        return absl::OkStatus();
      });
  Require(status.ok(), "what makes a set can be read");
}

bool TryAnyRule(const MessageView& message) {
  const auto view = nftables::ReadAnyRule(message);
  if (!view.ok()) return false;
  Require(nftables::ProgramText(view->rule.program, {}).size() < 1 << 20,
          "a rule's text is of its size");
  return true;
}

// What iptables-nft carries beside nf_tables' own.
void TryXtables(Input input) {
  for (const char* name : {"tcp", "udp", "conntrack", "multiport", "comment",
                           "mark", "addrtype", "state", "limit", "pkttype"}) {
    for (uint32_t revision = 0; revision < 5; ++revision) {
      (void)nftables::ProgramText(
          nftables::ProgramOfXtMatch(name, revision, input), {});
    }
  }
}

// A timeout that we would make is printed whatever is in it.
void TryListing(const nftables::CtTimeout& timeout) {
  if (!nftables::CheckTimeout(timeout).ok()) return;
  nftables::Table table{.name = "edged"};
  table.timeouts = {timeout};
  Require(timeout.IsMetBy(timeout), "a timeout is met by itself");
  Require(nftables::Print(table).find("policy = {  }") == std::string::npos,
          "nft loads a listed timeout again");
}

std::string TraceStep() {
  MessageBuilder message = nftables::TableMessage(NFT_MSG_TRACE);
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
  message.Put(NFTA_TRACE_NETWORK_HEADER, network);
  message.Put(NFTA_TRACE_TRANSPORT_HEADER, std::vector<uint8_t>(8, 0x1b));
  return Finished(std::move(message));
}

}  // namespace

// Every reader gets every message; one that is of another kind mostly refuses.
bool Try(Input input) {
  TryXtables(input);
  int read = 0;
  const absl::Status status =
      netlink::ForEachMessage(input, [&](const MessageView& message) {
        const bool rule = nftables::ReadRule(message, NameOnly).ok();
        const auto set = nftables::ReadSet(message);
        if (set.ok()) TryMaking(*set);
        const bool chain = nftables::ReadChain(message).ok();
        const bool any_rule = TryAnyRule(message);
        const bool step = nftables::ReadTraceEvent(message).ok();
        const auto timeout = nftables::ReadTimeout(message);
        if (timeout.ok()) TryListing(timeout->timeout);
        if (rule || set.ok() || chain || any_rule || step || timeout.ok()) {
          ++read;
        }
        return absl::OkStatus();
      });
  return status.ok() && read > 0;
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds{TraceStep()};
  for (const auto& table :
       {nftables::EdgeTable(), nftables::EverythingTable()}) {
    for (const auto& timeout : table.timeouts) {
      MessageBuilder message = nftables::TableMessage(NFT_MSG_NEWOBJ);
      nftables::PutTimeout(timeout, table.name, message);
      seeds.push_back(Finished(std::move(message)));
    }
    for (const auto& set : table.sets) {
      MessageBuilder message = nftables::TableMessage(NFT_MSG_NEWSET);
      nftables::PutSet(*nftables::LayoutOf(set.set), table.name, message);
      seeds.push_back(Finished(std::move(message)));
    }
    for (const auto& chain : table.chains) {
      MessageBuilder message = nftables::TableMessage(NFT_MSG_NEWCHAIN);
      nftables::PutChain(chain, table.name, message);
      seeds.push_back(Finished(std::move(message)));
      for (const auto& rule : chain.rules) {
        const auto compiled = nftables::Compile(rule, 1);
        if (!compiled.ok()) continue;
        MessageBuilder of_rule = nftables::TableMessage(NFT_MSG_NEWRULE);
        of_rule.PutString(NFTA_RULE_TABLE, table.name);
        of_rule.PutString(NFTA_RULE_CHAIN, chain.name);
        of_rule.PutU64(NFTA_RULE_HANDLE, htobe64(42));
        nftables::PutExpressions(compiled->expressions, of_rule);
        seeds.push_back(Finished(std::move(of_rule)));
      }
    }
  }
  return seeds;
}

}  // namespace edged::fuzz
