#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/message.h"

// A rule as the kernel runs it: a list of expressions that load registers,
// compare them and act. libnftnl makes, reads and prints them; nothing of it is
// seen outside this folder.

struct nftnl_expr;

namespace edged::nftables {

struct ExpressionDeleter {
  void operator()(nftnl_expr* expression) const;
};
using Expression = std::unique_ptr<nftnl_expr, ExpressionDeleter>;
using Expressions = std::vector<Expression>;

// Puts them as NFTA_RULE_EXPRESSIONS.
void PutExpressions(const Expressions& expressions,
                    netlink::MessageBuilder& message);

// Says what a lookup refers to, from the set's name and its id in a batch (0 in
// listings): "@name", or the elements of an anonymous set.
using SetText = std::function<std::string(std::string_view name, uint32_t id)>;

// One text for all lists that do the same to a packet: without counter values,
// without what the kernel fills in, and with the protocol checks that nft puts
// in front of a field (once each, wherever it put them) sorted to the front.
std::string ExpressionsText(const std::vector<const nftnl_expr*>& expressions,
                            const SetText& set_text);
std::string ExpressionsText(const Expressions& expressions,
                            const SetText& set_text);

// One rule of a listing. A rule that libnftnl cannot read has a text that no
// other rule has.
struct RuleView {
  std::string table;
  std::string chain;
  uint64_t handle = 0;
  std::string expressions;  // canonical
};

// Reads an NFT_MSG_NEWRULE.
absl::StatusOr<RuleView> ReadRule(const netlink::MessageView& message,
                                  const SetText& set_text);

}  // namespace edged::nftables
