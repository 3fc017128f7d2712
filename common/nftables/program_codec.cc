#include "common/nftables/program_codec.h"

#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <map>
#include <optional>

#include "common/nftables/verdict_codec.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;

// The attributes of one expression by number.
class Parts {
 public:
  static absl::StatusOr<Parts> Of(std::span<const uint8_t> bytes) {
    Parts parts;
    RETURN_IF_ERROR(netlink::ForEachAttribute(bytes, [&](const Attribute& one) {
      parts.attributes_[one.type] = one;
      return absl::OkStatus();
    }));
    return parts;
  }

  bool Has(uint16_t number) const { return attributes_.contains(number); }
  // 0 when it is missing or no number.
  uint32_t Number(uint16_t number) const {
    const auto found = attributes_.find(number);
    if (found == attributes_.end()) return 0;
    if (found->second.payload.size() == 1) return found->second.payload[0];
    return found->second.Be32().value_or(0);
  }
  std::string Text(uint16_t number) const {
    const auto found = attributes_.find(number);
    return found == attributes_.end() ? std::string()
                                      : std::string(found->second.String());
  }
  std::span<const uint8_t> Raw(uint16_t number) const {
    const auto found = attributes_.find(number);
    return found == attributes_.end() ? std::span<const uint8_t>()
                                      : found->second.payload;
  }
  // The value inside a NFTA_DATA_*.
  Bytes Value(uint16_t number) const {
    const auto data = Parts::Of(Raw(number));
    if (!data.ok()) return {};
    const auto bytes = data->Raw(NFTA_DATA_VALUE);
    return Bytes(bytes.begin(), bytes.end());
  }
  uint32_t Word(uint16_t number) const;
  const Attribute* Find(uint16_t number) const {
    const auto found = attributes_.find(number);
    return found == attributes_.end() ? nullptr : &found->second;
  }

 private:
  std::map<uint16_t, Attribute> attributes_;
};

// The kernel lists a register of 16 bytes as 1 to 4, one of 4 bytes as 8 to 23.
uint32_t Parts::Word(uint16_t number) const {
  const uint32_t reg = Number(number);
  if (reg >= NFT_REG32_00) return (reg - NFT_REG32_00) % kWords;
  return reg == NFT_REG_VERDICT ? 0 : (reg - NFT_REG_1) * kWords / 4 % kWords;
}

Comparison ComparisonOf(uint32_t operation) {
  switch (operation) {
    case NFT_CMP_EQ:
      return Comparison::kEqual;
    case NFT_CMP_NEQ:
      return Comparison::kNotEqual;
    case NFT_CMP_LT:
      return Comparison::kLess;
    case NFT_CMP_LTE:
      return Comparison::kAtMost;
    case NFT_CMP_GT:
      return Comparison::kGreater;
    default:
      return Comparison::kAtLeast;
  }
}

Instruction ReadPayload(const Parts& parts) {
  if (parts.Has(NFTA_PAYLOAD_SREG)) return Act{"payload set"};
  const uint32_t base = parts.Number(NFTA_PAYLOAD_BASE);
  const uint32_t word = parts.Word(NFTA_PAYLOAD_DREG);
  if (base > NFT_PAYLOAD_TRANSPORT_HEADER) {
    return LoadUnknown{"payload", word};
  }
  return LoadPayload{static_cast<Header>(base),
                     parts.Number(NFTA_PAYLOAD_OFFSET),
                     parts.Number(NFTA_PAYLOAD_LEN), word};
}

Instruction ReadImmediate(const Parts& parts) {
  if (parts.Number(NFTA_IMMEDIATE_DREG) != NFT_REG_VERDICT) {
    return LoadConstant{parts.Value(NFTA_IMMEDIATE_DATA),
                        parts.Word(NFTA_IMMEDIATE_DREG)};
  }
  const Attribute* data = parts.Find(NFTA_IMMEDIATE_DATA);
  if (data == nullptr) return UnknownVerdict{"no verdict"};
  const auto verdict = ReadVerdict(*data);
  if (!verdict.ok()) return UnknownVerdict{"another verdict"};
  return *verdict;
}

Instruction ReadBitwise(const Parts& parts) {
  if (parts.Number(NFTA_BITWISE_OP) != NFT_BITWISE_BOOL ||
      !parts.Has(NFTA_BITWISE_MASK)) {
    return LoadUnknown{"bitwise", parts.Word(NFTA_BITWISE_DREG)};
  }
  return MaskBits{parts.Word(NFTA_BITWISE_SREG), parts.Word(NFTA_BITWISE_DREG),
                  parts.Value(NFTA_BITWISE_MASK),
                  parts.Value(NFTA_BITWISE_XOR)};
}

Instruction ReadLookup(const Parts& parts) {
  LookUp lookup{.set = parts.Text(NFTA_LOOKUP_SET),
                .word = parts.Word(NFTA_LOOKUP_SREG)};
  if (parts.Has(NFTA_LOOKUP_DREG)) {
    lookup.verdict = parts.Number(NFTA_LOOKUP_DREG) == NFT_REG_VERDICT;
    if (!lookup.verdict) lookup.to = parts.Word(NFTA_LOOKUP_DREG);
  }
  lookup.negate = (parts.Number(NFTA_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV) != 0;
  return lookup;
}

Instruction ReadObject(const Parts& parts) {
  const uint32_t type = parts.Number(NFTA_OBJREF_IMM_TYPE);
  const bool decides =
      type == NFT_OBJECT_LIMIT || type == NFT_OBJECT_QUOTA || type == 0;
  if (decides) return UnknownMatch{"a named limit or quota"};
  return Act{"object"};
}

Instruction ReadMeta(const Parts& parts) {
  const uint32_t key = parts.Number(NFTA_META_KEY);
  if (!parts.Has(NFTA_META_SREG)) {
    return LoadMeta{key, parts.Word(NFTA_META_DREG)};
  }
  if (key == NFT_META_MARK) return Act{"meta mark set ..."};
  if (key == NFT_META_NFTRACE) return Act{"meta nftrace set ..."};
  return Act{"meta set ..."};
}

Instruction ReadCt(const Parts& parts) {
  const uint32_t key = parts.Number(NFTA_CT_KEY);
  if (parts.Has(NFTA_CT_SREG)) {
    return Act{key == NFT_CT_MARK ? "ct mark set ..." : "ct set ..."};
  }
  LoadCt load{.key = key, .word = parts.Word(NFTA_CT_DREG)};
  if (parts.Has(NFTA_CT_DIRECTION)) {
    load.of_reply = static_cast<uint8_t>(parts.Number(NFTA_CT_DIRECTION));
  }
  return load;
}

// Expressions that neither decide nor load, whatever they hold.
bool IsAct(std::string_view name) {
  constexpr std::string_view kActs[] = {"counter", "log",  "notrack",
                                        "dup",     "last", "flow_offload"};
  for (const std::string_view act : kActs) {
    if (name == act) return true;
  }
  return false;
}

Program ProgramOf(std::string_view name, const Parts& parts) {
  if (name == "meta") return {ReadMeta(parts)};
  if (name == "ct") return {ReadCt(parts)};
  if (name == "payload") return {ReadPayload(parts)};
  if (name == "fib") {
    return {LoadFib{parts.Number(NFTA_FIB_RESULT), parts.Number(NFTA_FIB_FLAGS),
                    parts.Word(NFTA_FIB_DREG)}};
  }
  if (name == "immediate") return {ReadImmediate(parts)};
  if (name == "cmp") {
    return {Compare{ComparisonOf(parts.Number(NFTA_CMP_OP)),
                    parts.Value(NFTA_CMP_DATA), parts.Word(NFTA_CMP_SREG)}};
  }
  if (name == "range") {
    return {CompareRanges{
        {{parts.Value(NFTA_RANGE_FROM_DATA), parts.Value(NFTA_RANGE_TO_DATA)}},
        parts.Number(NFTA_RANGE_OP) == NFT_RANGE_NEQ,
        parts.Word(NFTA_RANGE_SREG)}};
  }
  if (name == "bitwise") return {ReadBitwise(parts)};
  if (name == "lookup") return {ReadLookup(parts)};
  if (name == "byteorder") {
    // nft swaps the bytes of a one-byte key, which does nothing.
    if (parts.Number(NFTA_BYTEORDER_LEN) == 1) return {};
    return {LoadUnknown{"byteorder", parts.Word(NFTA_BYTEORDER_DREG)}};
  }
  if (name == "limit") {
    return {LimitRate{(parts.Number(NFTA_LIMIT_FLAGS) & NFT_LIMIT_F_INV) != 0}};
  }
  if (name == "connlimit") {
    return {LimitRate{
        (parts.Number(NFTA_CONNLIMIT_FLAGS) & NFT_CONNLIMIT_F_INV) != 0}};
  }
  if (name == "quota") {
    return {LimitRate{(parts.Number(NFTA_QUOTA_FLAGS) & NFT_QUOTA_F_INV) != 0}};
  }
  if (name == "reject") {
    return {Refuse{parts.Number(NFTA_REJECT_TYPE),
                   static_cast<uint8_t>(parts.Number(NFTA_REJECT_ICMP_CODE))}};
  }
  if (name == "nat" || name == "masq" || name == "redir") {
    return {Translate{std::string(name)}};
  }
  if (name == "objref") return {ReadObject(parts)};
  if (name == "match") {
    return ProgramOfXtMatch(parts.Text(NFTA_MATCH_NAME),
                            parts.Number(NFTA_MATCH_REV),
                            parts.Raw(NFTA_MATCH_INFO));
  }
  if (name == "target") {
    return {InstructionOfXtTarget(parts.Text(NFTA_TARGET_NAME))};
  }
  if (name == "queue" || name == "fwd" || name == "synproxy" ||
      name == "tproxy") {
    return {UnknownVerdict{std::string(name)}};
  }
  if (name == "dynset") {  // adds to a set; without room it ends the rule
    return {Act{"set update"}};
  }
  if (name == "exthdr" && parts.Has(NFTA_EXTHDR_SREG)) return {Act{"option"}};
  if (IsAct(name)) return {Act{std::string(name)}};
  // Loads something, or is newer than this: every word may have changed.
  return {LoadUnknown{std::string(name)}};
}

absl::Status ReadExpression(const Attribute& entry, Program& program) {
  std::string name;
  std::span<const uint8_t> data;
  RETURN_IF_ERROR(
      netlink::ForEachAttribute(entry.payload, [&](const Attribute& part) {
        if (part.type == NFTA_EXPR_NAME) name = part.String();
        if (part.type == NFTA_EXPR_DATA) data = part.payload;
        return absl::OkStatus();
      }));
  ASSIGN_OR_RETURN(const Parts parts, Parts::Of(data));
  for (Instruction& each : ProgramOf(name, parts)) {
    program.push_back(std::move(each));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AnyRuleView> ReadAnyRule(const netlink::MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<nfgenmsg>());
  AnyRuleView view{.family = header.nfgen_family};
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NFTA_RULE_TABLE:
            view.table = attribute.String();
            break;
          case NFTA_RULE_CHAIN:
            view.chain = attribute.String();
            break;
          case NFTA_RULE_HANDLE: {
            ASSIGN_OR_RETURN(const uint64_t handle, attribute.U64());
            view.rule.handle = be64toh(handle);
            break;
          }
          case NFTA_RULE_EXPRESSIONS:
            return netlink::ForEachAttribute(
                attribute.payload, [&view](const Attribute& entry) {
                  return ReadExpression(entry, view.rule.program);
                });
          default:
            break;
        }
        return absl::OkStatus();
      }));
  return view;
}

}  // namespace edged::nftables
