#include "common/nftables/expressions.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "common/nftables/expression_shapes.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

// More than any expression takes: its two longest parts are a name of 256 bytes
// and data of 64.
constexpr size_t kExpressionLimit = 4096;

std::string_view NameOf(const nftnl_expr* expression) {
  const char* name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);
  return name == nullptr ? std::string_view() : std::string_view(name);
}

uint32_t U32(const nftnl_expr* expression, uint16_t attribute) {
  return nftnl_expr_is_set(expression, attribute)
             ? nftnl_expr_get_u32(expression, attribute)
             : 0;
}

std::string LookupText(const nftnl_expr* expression, const SetText& set_text) {
  const char* name = nftnl_expr_get_str(expression, NFTNL_EXPR_LOOKUP_SET);
  std::string text = fmt::format(
      "lookup reg {} set {}", U32(expression, NFTNL_EXPR_LOOKUP_SREG),
      set_text(name == nullptr ? "" : name,
               U32(expression, NFTNL_EXPR_LOOKUP_SET_ID)));
  if (nftnl_expr_is_set(expression, NFTNL_EXPR_LOOKUP_DREG)) {
    text += fmt::format(" dreg {}", U32(expression, NFTNL_EXPR_LOOKUP_DREG));
  }
  const uint32_t flags = U32(expression, NFTNL_EXPR_LOOKUP_FLAGS);
  return flags == 0 ? text : text + fmt::format(" flags {}", flags);
}

// The kernel lists the highest register too, equal to the lowest for a single
// address, and sets the two flags that follow from the registers.
std::string NatText(const nftnl_expr* expression) {
  constexpr uint32_t kFollowing = 3;  // NF_NAT_RANGE_MAP_IPS, PROTO_SPECIFIED
  std::string text =
      fmt::format("nat {} family {}", U32(expression, NFTNL_EXPR_NAT_TYPE),
                  U32(expression, NFTNL_EXPR_NAT_FAMILY));
  const auto add_range = [&](std::string_view what, uint16_t lowest,
                             uint16_t highest) {
    const uint32_t low = U32(expression, lowest);
    const uint32_t high = U32(expression, highest);
    if (low != 0) text += fmt::format(" {} reg {}", what, low);
    if (high != 0 && high != low) text += fmt::format(" to reg {}", high);
  };
  add_range("address", NFTNL_EXPR_NAT_REG_ADDR_MIN,
            NFTNL_EXPR_NAT_REG_ADDR_MAX);
  add_range("port", NFTNL_EXPR_NAT_REG_PROTO_MIN, NFTNL_EXPR_NAT_REG_PROTO_MAX);
  const uint32_t flags = U32(expression, NFTNL_EXPR_NAT_FLAGS) & ~kFollowing;
  return flags == 0 ? text : text + fmt::format(" flags {}", flags);
}

// nft swaps the bytes of a one-byte key of an interval set, which does nothing.
bool DoesNothing(const nftnl_expr* expression) {
  return NameOf(expression) == "byteorder" &&
         U32(expression, NFTNL_EXPR_BYTEORDER_LEN) == 1;
}

std::string TextOf(const nftnl_expr* expression, const SetText& set_text) {
  const std::string_view name = NameOf(expression);
  if (name == "counter") return "counter";
  if (name == "lookup") return LookupText(expression, set_text);
  if (name == "nat") return NatText(expression);
  char buffer[kExpressionLimit];
  const int size = nftnl_expr_snprintf(buffer, sizeof buffer, expression,
                                       NFTNL_OUTPUT_DEFAULT, 0);
  std::string_view text(buffer, std::clamp<int>(size, 0, sizeof buffer - 1));
  while (text.ends_with(' ')) text.remove_suffix(1);
  return fmt::format("{} {}", name, text);
}

// Whether it only decides if the rule goes on, so that protocol checks may move
// across it.
bool IsCondition(const nftnl_expr* expression) {
  const std::string_view name = NameOf(expression);
  if (name == "meta")
    return !nftnl_expr_is_set(expression, NFTNL_EXPR_META_SREG);
  if (name == "ct") return !nftnl_expr_is_set(expression, NFTNL_EXPR_CT_SREG);
  if (name == "immediate") {
    return U32(expression, NFTNL_EXPR_IMM_DREG) != NFT_REG_VERDICT;
  }
  if (name == "lookup") {
    return !nftnl_expr_is_set(expression, NFTNL_EXPR_LOOKUP_DREG) ||
           U32(expression, NFTNL_EXPR_LOOKUP_DREG) != NFT_REG_VERDICT;
  }
  return name == "payload" || name == "cmp" || name == "bitwise" ||
         name == "byteorder" || name == "hash" || name == "rt";
}

// `meta nfproto N` or `meta l4proto N`: a load and the comparison after it.
bool IsProtocolCheck(const nftnl_expr* load, const nftnl_expr* comparison) {
  if (NameOf(load) != "meta" || NameOf(comparison) != "cmp") return false;
  const uint32_t key = U32(load, NFTNL_EXPR_META_KEY);
  return (key == NFT_META_NFPROTO || key == NFT_META_L4PROTO) &&
         nftnl_expr_is_set(load, NFTNL_EXPR_META_DREG) &&
         U32(load, NFTNL_EXPR_META_DREG) ==
             U32(comparison, NFTNL_EXPR_CMP_SREG) &&
         U32(comparison, NFTNL_EXPR_CMP_OP) == NFT_CMP_EQ;
}

// A message for libnftnl, which wants it whole and aligned: the rule with its
// expressions and nothing else. Unset when one of them is not for it.
std::optional<std::vector<uint64_t>> ForLibrary(
    const netlink::MessageView& message) {
  netlink::MessageBuilder copy(message.type, 0, message.payload.size() + 64);
  copy.PutHeader(nfgenmsg{});
  const absl::Status status = netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&copy](const netlink::Attribute& attribute) -> absl::Status {
        if (attribute.type != NFTA_RULE_EXPRESSIONS) return absl::OkStatus();
        copy.Put(attribute.type, attribute.payload);
        return netlink::ForEachAttribute(
            attribute.payload, [](const netlink::Attribute& expression) {
              return HasItsShape(expression)
                         ? absl::OkStatus()
                         : InvalidArgument("an expression that is not ours");
            });
      });
  const auto bytes = copy.Finish();
  if (!status.ok() || !bytes.ok()) return std::nullopt;
  std::vector<uint64_t> aligned(bytes->size() / sizeof(uint64_t) + 1);
  std::memcpy(aligned.data(), bytes->data(), bytes->size());
  return aligned;
}

// Unset when there is an expression that we do not know.
std::optional<std::string> ExpressionsIn(const netlink::MessageView& message,
                                         const SetText& set_text) {
  auto copy = ForLibrary(message);
  if (!copy) return std::nullopt;
  const auto* whole = reinterpret_cast<const nlmsghdr*>(copy->data());
  const std::unique_ptr<nftnl_rule, void (*)(const nftnl_rule*)> rule(
      nftnl_rule_alloc(), nftnl_rule_free);
  if (rule == nullptr || nftnl_rule_nlmsg_parse(whole, rule.get()) < 0) {
    return std::nullopt;
  }
  const std::unique_ptr<nftnl_expr_iter, void (*)(nftnl_expr_iter*)> iterator(
      nftnl_expr_iter_create(rule.get()), nftnl_expr_iter_destroy);
  if (iterator == nullptr) return std::nullopt;
  std::vector<const nftnl_expr*> expressions;
  while (const nftnl_expr* each = nftnl_expr_iter_next(iterator.get())) {
    expressions.push_back(each);
  }
  return ExpressionsText(expressions, set_text);
}

}  // namespace

void ExpressionDeleter::operator()(nftnl_expr* expression) const {
  nftnl_expr_free(expression);
}

void PutExpressions(const Expressions& expressions,
                    netlink::MessageBuilder& message) {
  const size_t list = message.BeginNest(NFTA_RULE_EXPRESSIONS);
  for (const Expression& expression : expressions) {
    alignas(nlmsghdr) uint8_t buffer[kExpressionLimit] = {};
    nlmsghdr* scratch = mnl_nlmsg_put_header(buffer);
    nftnl_expr_build_payload(scratch, expression.get());
    const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
    message.PutRaw(
        {buffer + MNL_NLMSG_HDRLEN, scratch->nlmsg_len - MNL_NLMSG_HDRLEN});
    message.EndNest(entry);
  }
  message.EndNest(list);
}

std::string ExpressionsText(const std::vector<const nftnl_expr*>& expressions,
                            const SetText& set_text) {
  std::string text;
  std::set<std::string> known;   // protocol checks made so far
  std::set<std::string> checks;  // those since the last action
  std::string conditions;        // everything else since then
  const auto finish_segment = [&] {
    for (const std::string& check : checks) text += check;
    text += conditions;
    checks.clear();
    conditions.clear();
  };
  for (size_t i = 0; i < expressions.size(); ++i) {
    if (DoesNothing(expressions[i])) continue;
    std::string line = fmt::format("[{}]", TextOf(expressions[i], set_text));
    if (i + 1 < expressions.size() &&
        IsProtocolCheck(expressions[i], expressions[i + 1])) {
      line += fmt::format("[{}]", TextOf(expressions[++i], set_text));
      if (known.insert(line).second) checks.insert(std::move(line));
      continue;
    }
    conditions += line;
    if (!IsCondition(expressions[i])) finish_segment();
  }
  finish_segment();
  return text;
}

std::string ExpressionsText(const Expressions& expressions,
                            const SetText& set_text) {
  std::vector<const nftnl_expr*> borrowed;
  for (const Expression& expression : expressions) {
    borrowed.push_back(expression.get());
  }
  return ExpressionsText(borrowed, set_text);
}

absl::StatusOr<RuleView> ReadRule(const netlink::MessageView& message,
                                  const SetText& set_text) {
  RETURN_IF_ERROR(message.HeaderAs<nfgenmsg>().status());
  RuleView view;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const netlink::Attribute& attribute) -> absl::Status {
        if (attribute.type == NFTA_RULE_TABLE) view.table = attribute.String();
        if (attribute.type == NFTA_RULE_CHAIN) view.chain = attribute.String();
        if (attribute.type == NFTA_RULE_HANDLE) {
          ASSIGN_OR_RETURN(const uint64_t handle, attribute.U64());
          view.handle = be64toh(handle);
        }
        return absl::OkStatus();
      }));
  view.expressions =
      ExpressionsIn(message, set_text)
          .value_or(fmt::format("unreadable rule {}", view.handle));
  return view;
}

}  // namespace edged::nftables
