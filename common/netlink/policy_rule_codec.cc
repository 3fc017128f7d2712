// ReadRule(): rules of policy routing (fib_rules.h), as values and as text.
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

#include "common/netlink/rtnetlink_codec.h"
#include "common/status.h"

namespace edged::netlink {
namespace {

// A rule and the words of what it selects by beside its addresses.
struct Draft {
  PolicyRule rule;
  Rule plain;
  bool is_plain = true;
  std::optional<uint32_t> target;  // of goto
  std::string words;               // " iif eth0 fwmark 0x1/0xff"
};

absl::Status ReadPrefix(const Attribute& attribute, int length,
                        std::optional<IpPrefix>& prefix) {
  ASSIGN_OR_RETURN(const IpAddress address, attribute.Address());
  if (length > address.bits()) {
    return InvalidArgument("netlink: a rule's prefix of {} bits", length);
  }
  prefix = IpPrefix(address, length);
  return absl::OkStatus();
}

std::string RangeText(std::span<const uint8_t> payload) {
  fib_rule_port_range range{};
  if (payload.size() < sizeof range) return "?";
  std::memcpy(&range, payload.data(), sizeof range);
  return range.start == range.end
             ? fmt::format("{}", range.start)
             : fmt::format("{}-{}", range.start, range.end);
}

// What only the text tells; false when it is nothing that selects.
absl::StatusOr<bool> ReadWords(const Attribute& attribute, Draft& draft) {
  const auto add = [&draft](std::string_view name, const std::string& value) {
    draft.words += fmt::format(" {} {}", name, value);
  };
  switch (attribute.type) {
    case FRA_PAD:
      return false;
    case FRA_SUPPRESS_PREFIXLEN: {  // always there; -1 means off
      ASSIGN_OR_RETURN(const uint32_t length, attribute.U32());
      if (length == UINT32_MAX) return false;
      add("suppress_prefixlength", fmt::format("{}", length));
      return true;
    }
    case FRA_IIFNAME:
      draft.rule.in = attribute.String();
      add("iif", draft.rule.in);
      return true;
    case FRA_OIFNAME:
      add("oif", std::string(attribute.String()));
      return true;
    case FRA_IP_PROTO: {
      ASSIGN_OR_RETURN(const uint8_t protocol, attribute.U8());
      add("ipproto", fmt::format("{}", protocol));
      return true;
    }
    case FRA_SPORT_RANGE:
      add("sport", RangeText(attribute.payload));
      return true;
    case FRA_DPORT_RANGE:
      add("dport", RangeText(attribute.payload));
      return true;
    case FRA_L3MDEV:
      draft.words += " l3mdev";
      return true;
    default:
      add("attribute", fmt::format("{}", attribute.type));
      return true;
  }
}

absl::Status ReadRuleAttribute(const Attribute& attribute,
                               const fib_rule_hdr& header, Draft& draft) {
  PolicyRule& rule = draft.rule;
  switch (attribute.type) {
    case FRA_PRIORITY: {
      ASSIGN_OR_RETURN(rule.priority, attribute.U32());
      break;
    }
    case FRA_FWMARK: {
      ASSIGN_OR_RETURN(draft.plain.mark, attribute.U32());
      break;
    }
    case FRA_FWMASK: {
      ASSIGN_OR_RETURN(draft.plain.mask, attribute.U32());
      break;
    }
    case FRA_TABLE: {
      ASSIGN_OR_RETURN(rule.table, attribute.U32());
      break;
    }
    case FRA_PROTOCOL: {
      ASSIGN_OR_RETURN(rule.protocol, attribute.U8());
      break;
    }
    case FRA_GOTO: {
      ASSIGN_OR_RETURN(draft.target, attribute.U32());
      draft.is_plain = false;
      break;
    }
    case FRA_SRC:
      return ReadPrefix(attribute, header.src_len, rule.source);
    case FRA_DST:
      return ReadPrefix(attribute, header.dst_len, rule.destination);
    default: {
      ASSIGN_OR_RETURN(const bool selects, ReadWords(attribute, draft));
      draft.is_plain = draft.is_plain && !selects;
    }
  }
  return absl::OkStatus();
}

std::string ActionText(uint8_t action, const Draft& draft) {
  switch (action) {
    case FR_ACT_TO_TBL:
      return fmt::format("lookup {}", draft.rule.table);
    case FR_ACT_GOTO:
      return fmt::format("goto {}", draft.target.value_or(0));
    case FR_ACT_NOP:
      return "nop";
    case FR_ACT_BLACKHOLE:
      return "blackhole";
    case FR_ACT_UNREACHABLE:
      return "unreachable";
    case FR_ACT_PROHIBIT:
      return "prohibit";
  }
  return fmt::format("action {}", action);
}

std::string TextOf(const fib_rule_hdr& header, const Draft& draft) {
  const PolicyRule& rule = draft.rule;
  std::string text = (header.flags & FIB_RULE_INVERT) != 0 ? "not " : "";
  text += "from " + (rule.source ? rule.source->ToString() : "all");
  if (rule.destination) text += " to " + rule.destination->ToString();
  if (header.tos != 0) text += fmt::format(" tos {:#x}", header.tos);
  if (draft.plain.mark != 0 || draft.plain.mask != 0) {
    text +=
        fmt::format(" fwmark {:#x}/{:#x}", draft.plain.mark, draft.plain.mask);
  }
  return text + draft.words + " " + ActionText(header.action, draft);
}

}  // namespace

absl::StatusOr<PolicyRule> ReadRule(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<fib_rule_hdr>());
  if (header.family != AF_INET && header.family != AF_INET6) {
    return InvalidArgument("netlink: address family {} is not IP",
                           header.family);
  }
  Draft draft;
  PolicyRule& rule = draft.rule;
  rule.family = header.family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  rule.table = header.table;
  rule.refuses = header.action == FR_ACT_BLACKHOLE ||
                 header.action == FR_ACT_UNREACHABLE ||
                 header.action == FR_ACT_PROHIBIT;
  draft.is_plain = header.action == FR_ACT_TO_TBL && header.src_len == 0 &&
                   header.dst_len == 0 && header.tos == 0 &&
                   (header.flags & FIB_RULE_INVERT) == 0;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header), [&](const Attribute& attribute) {
        return ReadRuleAttribute(attribute, header, draft);
      }));
  rule.text = TextOf(header, draft);
  if (draft.is_plain) {
    draft.plain.family = rule.family;
    draft.plain.priority = rule.priority;
    draft.plain.table = rule.table;
    draft.plain.protocol = rule.protocol;
    rule.plain = draft.plain;
  }
  return rule;
}

}  // namespace edged::netlink
