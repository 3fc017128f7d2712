#include "common/nftables/expression_shapes.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <span>
#include <string_view>

#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;

enum class Kind {
  kU8,
  kU32,
  kU64,
  kText,  // with a final 0
  kData,  // NFTA_DATA_*
};

struct Shape {
  std::string_view expression;
  uint16_t attribute;
  Kind kind;
};

// include/uapi/linux/netfilter/nf_tables.h. Attributes that are not here are of
// a later kernel, and libnftnl passes over them.
constexpr Shape kShapes[] = {
    {"bitwise", NFTA_BITWISE_SREG, Kind::kU32},
    {"bitwise", NFTA_BITWISE_DREG, Kind::kU32},
    {"bitwise", NFTA_BITWISE_LEN, Kind::kU32},
    {"bitwise", NFTA_BITWISE_MASK, Kind::kData},
    {"bitwise", NFTA_BITWISE_XOR, Kind::kData},
    {"bitwise", NFTA_BITWISE_OP, Kind::kU32},
    {"bitwise", NFTA_BITWISE_DATA, Kind::kData},
    {"byteorder", NFTA_BYTEORDER_SREG, Kind::kU32},
    {"byteorder", NFTA_BYTEORDER_DREG, Kind::kU32},
    {"byteorder", NFTA_BYTEORDER_OP, Kind::kU32},
    {"byteorder", NFTA_BYTEORDER_LEN, Kind::kU32},
    {"byteorder", NFTA_BYTEORDER_SIZE, Kind::kU32},
    {"cmp", NFTA_CMP_SREG, Kind::kU32},
    {"cmp", NFTA_CMP_OP, Kind::kU32},
    {"cmp", NFTA_CMP_DATA, Kind::kData},
    {"counter", NFTA_COUNTER_BYTES, Kind::kU64},
    {"counter", NFTA_COUNTER_PACKETS, Kind::kU64},
    {"ct", NFTA_CT_DREG, Kind::kU32},
    {"ct", NFTA_CT_KEY, Kind::kU32},
    {"ct", NFTA_CT_DIRECTION, Kind::kU8},
    {"ct", NFTA_CT_SREG, Kind::kU32},
    {"exthdr", NFTA_EXTHDR_DREG, Kind::kU32},
    {"exthdr", NFTA_EXTHDR_TYPE, Kind::kU8},
    {"exthdr", NFTA_EXTHDR_OFFSET, Kind::kU32},
    {"exthdr", NFTA_EXTHDR_LEN, Kind::kU32},
    {"exthdr", NFTA_EXTHDR_FLAGS, Kind::kU32},
    {"exthdr", NFTA_EXTHDR_OP, Kind::kU32},
    {"exthdr", NFTA_EXTHDR_SREG, Kind::kU32},
    {"hash", NFTA_HASH_SREG, Kind::kU32},
    {"hash", NFTA_HASH_DREG, Kind::kU32},
    {"hash", NFTA_HASH_LEN, Kind::kU32},
    {"hash", NFTA_HASH_MODULUS, Kind::kU32},
    {"hash", NFTA_HASH_SEED, Kind::kU32},
    {"hash", NFTA_HASH_OFFSET, Kind::kU32},
    {"hash", NFTA_HASH_TYPE, Kind::kU32},
    {"immediate", NFTA_IMMEDIATE_DREG, Kind::kU32},
    {"immediate", NFTA_IMMEDIATE_DATA, Kind::kData},
    {"lookup", NFTA_LOOKUP_SET, Kind::kText},
    {"lookup", NFTA_LOOKUP_SREG, Kind::kU32},
    {"lookup", NFTA_LOOKUP_DREG, Kind::kU32},
    {"lookup", NFTA_LOOKUP_SET_ID, Kind::kU32},
    {"lookup", NFTA_LOOKUP_FLAGS, Kind::kU32},
    {"masq", NFTA_MASQ_FLAGS, Kind::kU32},
    {"masq", NFTA_MASQ_REG_PROTO_MIN, Kind::kU32},
    {"masq", NFTA_MASQ_REG_PROTO_MAX, Kind::kU32},
    {"meta", NFTA_META_DREG, Kind::kU32},
    {"meta", NFTA_META_KEY, Kind::kU32},
    {"meta", NFTA_META_SREG, Kind::kU32},
    {"nat", NFTA_NAT_TYPE, Kind::kU32},
    {"nat", NFTA_NAT_FAMILY, Kind::kU32},
    {"nat", NFTA_NAT_REG_ADDR_MIN, Kind::kU32},
    {"nat", NFTA_NAT_REG_ADDR_MAX, Kind::kU32},
    {"nat", NFTA_NAT_REG_PROTO_MIN, Kind::kU32},
    {"nat", NFTA_NAT_REG_PROTO_MAX, Kind::kU32},
    {"nat", NFTA_NAT_FLAGS, Kind::kU32},
    {"notrack", 0, Kind::kU32},  // it has no attribute
    {"objref", NFTA_OBJREF_IMM_TYPE, Kind::kU32},
    {"objref", NFTA_OBJREF_IMM_NAME, Kind::kText},
    {"objref", NFTA_OBJREF_SET_SREG, Kind::kU32},
    {"objref", NFTA_OBJREF_SET_NAME, Kind::kText},
    {"objref", NFTA_OBJREF_SET_ID, Kind::kU32},
    {"payload", NFTA_PAYLOAD_DREG, Kind::kU32},
    {"payload", NFTA_PAYLOAD_BASE, Kind::kU32},
    {"payload", NFTA_PAYLOAD_OFFSET, Kind::kU32},
    {"payload", NFTA_PAYLOAD_LEN, Kind::kU32},
    {"payload", NFTA_PAYLOAD_SREG, Kind::kU32},
    {"payload", NFTA_PAYLOAD_CSUM_TYPE, Kind::kU32},
    {"payload", NFTA_PAYLOAD_CSUM_OFFSET, Kind::kU32},
    {"payload", NFTA_PAYLOAD_CSUM_FLAGS, Kind::kU32},
    {"reject", NFTA_REJECT_TYPE, Kind::kU32},
    {"reject", NFTA_REJECT_ICMP_CODE, Kind::kU8},
    {"rt", NFTA_RT_DREG, Kind::kU32},
    {"rt", NFTA_RT_KEY, Kind::kU32},
};

bool IsText(const Attribute& attribute) {
  return !attribute.payload.empty() && attribute.payload.back() == 0;
}

// True when `holds` of each attribute in `bytes`, which are well formed.
bool All(std::span<const uint8_t> bytes,
         const std::function<bool(const Attribute&)>& holds) {
  return netlink::ForEachAttribute(bytes,
                                   [&](const Attribute& attribute) {
                                     return holds(attribute)
                                                ? absl::OkStatus()
                                                : InvalidArgument("another");
                                   })
      .ok();
}

// A chain is what libnftnl expects of every jump.
bool IsVerdict(const Attribute& verdict) {
  bool jumps = false;
  bool has_chain = false;
  const bool whole = All(verdict.payload, [&](const Attribute& part) {
    if (part.type == NFTA_VERDICT_CODE) {
      const auto code = part.Be32();
      jumps = code.ok() && (static_cast<int32_t>(*code) == NFT_JUMP ||
                            static_cast<int32_t>(*code) == NFT_GOTO);
      return code.ok();
    }
    has_chain |= part.type == NFTA_VERDICT_CHAIN;
    return part.type == NFTA_VERDICT_CHAIN_ID ? part.U32().ok()
           : part.type == NFTA_VERDICT_CHAIN  ? IsText(part)
                                              : true;
  });
  return whole && (has_chain || !jumps);
}

bool IsData(const Attribute& data) {
  return All(data.payload, [](const Attribute& part) {
    if (part.type == NFTA_DATA_VERDICT) return IsVerdict(part);
    return part.type != NFTA_DATA_VALUE ||
           (!part.payload.empty() &&
            part.payload.size() <= NFT_DATA_VALUE_MAXLEN);
  });
}

bool IsOf(Kind kind, const Attribute& attribute) {
  switch (kind) {
    case Kind::kU8:
      return attribute.U8().ok();
    case Kind::kU32:
      return attribute.U32().ok();
    case Kind::kU64:
      return attribute.U64().ok();
    case Kind::kText:
      return IsText(attribute);
    case Kind::kData:
      return IsData(attribute);
  }
  return false;
}

}  // namespace

bool HasItsShape(const Attribute& expression) {
  std::string_view name;
  std::span<const uint8_t> data;
  const bool whole = All(expression.payload, [&](const Attribute& part) {
    if (part.type == NFTA_EXPR_NAME) name = part.String();
    if (part.type == NFTA_EXPR_DATA) data = part.payload;
    return part.type != NFTA_EXPR_NAME || IsText(part);
  });
  if (!whole || std::ranges::find(kShapes, name, &Shape::expression) ==
                    std::end(kShapes)) {
    return false;
  }
  return All(data, [name](const Attribute& attribute) {
    const auto* shape =
        std::ranges::find_if(kShapes, [&](const Shape& candidate) {
          return candidate.expression == name &&
                 candidate.attribute == attribute.type;
        });
    return shape == std::end(kShapes) || IsOf(shape->kind, attribute);
  });
}

}  // namespace edged::nftables
