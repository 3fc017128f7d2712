#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/nftables/program.h"

// Rules of listings as programs (NFTA_RULE_*, include/uapi/linux/netfilter/
// nf_tables.h). Pure.

namespace edged::nftables {

struct AnyRuleView {
  uint8_t family = 0;
  std::string table;
  std::string chain;
  AnyRule rule;
};

// Reads an NFT_MSG_NEWRULE. An expression that is not known becomes an
// instruction that says so; InvalidArgument only for malformed bytes.
absl::StatusOr<AnyRuleView> ReadAnyRule(const netlink::MessageView& message);

// A match of iptables, as nf_tables carries it beside its own: `info` is the
// structure of linux/netfilter/xt_NAME.h. One that is not known becomes an
// UnknownMatch.
Program ProgramOfXtMatch(std::string_view name, uint32_t revision,
                         std::span<const uint8_t> info);
// The same for a target: what it does to the packet.
Instruction InstructionOfXtTarget(std::string_view name);

}  // namespace edged::nftables
