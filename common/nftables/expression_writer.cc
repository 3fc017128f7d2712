#include "common/nftables/expression_writer.h"

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "common/nftables/verdict_codec.h"

namespace edged::nftables {
namespace {

// Where fields lie in their headers.
constexpr uint32_t kIpSaddrOffset = 12, kIpDaddrOffset = 16;
constexpr uint32_t kIp6SaddrOffset = 8, kIp6DaddrOffset = 24;
constexpr uint32_t kSportOffset = 0, kDportOffset = 2, kTcpFlagsOffset = 13,
                   kIcmpTypeOffset = 0, kIcmpMtuOffset = 6;
// The TCP option maxseg: its number, and where its value lies in it.
constexpr uint32_t kMaxsegOption = 2, kMaxsegOffset = 2, kMaxsegSize = 2;

constexpr uint32_t kWork = NFT_REG_1;

struct Source {
  enum Kind { kMeta, kCt, kNetwork, kTransport } kind;
  uint32_t where;  // a key, or an offset
};

Source SourceOf(Field field) {
  switch (field) {
    case Field::kIifname:
      return {Source::kMeta, NFT_META_IIFNAME};
    case Field::kOifname:
      return {Source::kMeta, NFT_META_OIFNAME};
    case Field::kNfproto:
      return {Source::kMeta, NFT_META_NFPROTO};
    case Field::kL4proto:
      return {Source::kMeta, NFT_META_L4PROTO};
    case Field::kMark:
      return {Source::kMeta, NFT_META_MARK};
    case Field::kSkuid:
      return {Source::kMeta, NFT_META_SKUID};
    case Field::kIpSaddr:
      return {Source::kNetwork, kIpSaddrOffset};
    case Field::kIpDaddr:
      return {Source::kNetwork, kIpDaddrOffset};
    case Field::kIp6Saddr:
      return {Source::kNetwork, kIp6SaddrOffset};
    case Field::kIp6Daddr:
      return {Source::kNetwork, kIp6DaddrOffset};
    case Field::kThSport:
      return {Source::kTransport, kSportOffset};
    case Field::kThDport:
      return {Source::kTransport, kDportOffset};
    case Field::kTcpFlags:
      return {Source::kTransport, kTcpFlagsOffset};
    case Field::kIcmpType:
    case Field::kIcmpv6Type:
      return {Source::kTransport, kIcmpTypeOffset};
    case Field::kCtState:
      return {Source::kCt, NFT_CT_STATE};
    case Field::kCtStatus:
      return {Source::kCt, NFT_CT_STATUS};
    case Field::kCtMark:
      return {Source::kCt, NFT_CT_MARK};
    case Field::kCtDirection:
      return {Source::kCt, NFT_CT_DIRECTION};
  }
  return {Source::kMeta, NFT_META_MARK};
}

}  // namespace

uint32_t RegisterAt(uint32_t word) {
  return word % kWordsPerRegister == 0 ? NFT_REG_1 + word / kWordsPerRegister
                                       : NFT_REG32_00 + word;
}

// An expression that libnftnl does not know is left null for the compiler to
// find; what follows for it goes nowhere.
void ExpressionWriter::Begin(const char* name) {
  list_.emplace_back(nftnl_expr_alloc(name));
}

void ExpressionWriter::U32(uint16_t attribute, uint32_t value) {
  if (nftnl_expr* last = list_.back().get()) {
    nftnl_expr_set_u32(last, attribute, value);
  }
}

void ExpressionWriter::U8(uint16_t attribute, uint8_t value) {
  if (nftnl_expr* last = list_.back().get()) {
    nftnl_expr_set_u8(last, attribute, value);
  }
}

void ExpressionWriter::Data(uint16_t attribute, const Bytes& bytes) {
  if (nftnl_expr* last = list_.back().get()) {
    nftnl_expr_set(last, attribute, bytes.data(),
                   static_cast<uint32_t>(bytes.size()));
  }
}

void ExpressionWriter::Text(uint16_t attribute, const std::string& text) {
  if (nftnl_expr* last = list_.back().get()) {
    nftnl_expr_set_str(last, attribute, text.c_str());
  }
}

void ExpressionWriter::LoadFrom(uint32_t base, uint32_t offset, size_t size,
                                uint32_t reg) {
  Begin("payload");
  U32(NFTNL_EXPR_PAYLOAD_DREG, reg);
  U32(NFTNL_EXPR_PAYLOAD_BASE, base);
  U32(NFTNL_EXPR_PAYLOAD_OFFSET, offset);
  U32(NFTNL_EXPR_PAYLOAD_LEN, static_cast<uint32_t>(size));
}

void ExpressionWriter::Load(Field field, uint32_t word) {
  LoadPart(field, SizeOf(field), word);
}

void ExpressionWriter::LoadPart(Field field, size_t size, uint32_t word) {
  const Source source = SourceOf(field);
  const uint32_t reg = RegisterAt(word);
  switch (source.kind) {
    case Source::kMeta:
      Begin("meta");
      U32(NFTNL_EXPR_META_KEY, source.where);
      U32(NFTNL_EXPR_META_DREG, reg);
      return;
    case Source::kCt:
      Begin("ct");
      U32(NFTNL_EXPR_CT_KEY, source.where);
      U32(NFTNL_EXPR_CT_DREG, reg);
      return;
    case Source::kNetwork:
      return LoadFrom(NFT_PAYLOAD_NETWORK_HEADER, source.where, size, reg);
    case Source::kTransport:
      return LoadFrom(NFT_PAYLOAD_TRANSPORT_HEADER, source.where, size, reg);
  }
}

void ExpressionWriter::LoadIcmpMtu() {
  LoadFrom(NFT_PAYLOAD_TRANSPORT_HEADER, kIcmpMtuOffset, sizeof(uint16_t),
           kWork);
}

void ExpressionWriter::CompareAs(uint32_t comparison, const Bytes& value) {
  Begin("cmp");
  U32(NFTNL_EXPR_CMP_SREG, kWork);
  U32(NFTNL_EXPR_CMP_OP, comparison);
  Data(NFTNL_EXPR_CMP_DATA, value);
}

void ExpressionWriter::Compare(const Bytes& value, bool negate) {
  CompareAs(negate ? NFT_CMP_NEQ : NFT_CMP_EQ, value);
}

void ExpressionWriter::CompareBelow(const Bytes& value) {
  CompareAs(NFT_CMP_LT, value);
}

void ExpressionWriter::Mask(const Bytes& mask, const Bytes& flip) {
  Begin("bitwise");
  U32(NFTNL_EXPR_BITWISE_SREG, kWork);
  U32(NFTNL_EXPR_BITWISE_DREG, kWork);
  U32(NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
  U32(NFTNL_EXPR_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
  Data(NFTNL_EXPR_BITWISE_MASK, mask);
  Data(NFTNL_EXPR_BITWISE_XOR, flip);
}

void ExpressionWriter::Immediate(const Bytes& value, uint32_t word) {
  Begin("immediate");
  U32(NFTNL_EXPR_IMM_DREG, RegisterAt(word));
  Data(NFTNL_EXPR_IMM_DATA, value);
}

void ExpressionWriter::BeginLookup(const std::string& set, uint32_t set_id) {
  Begin("lookup");
  U32(NFTNL_EXPR_LOOKUP_SREG, kWork);
  Text(NFTNL_EXPR_LOOKUP_SET, set);
  if (set_id != 0) U32(NFTNL_EXPR_LOOKUP_SET_ID, set_id);
}

void ExpressionWriter::LookUp(const std::string& set, uint32_t set_id,
                              bool negate) {
  BeginLookup(set, set_id);
  if (negate) U32(NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}

void ExpressionWriter::LookUpData(const std::string& map, uint32_t map_id) {
  BeginLookup(map, map_id);
  U32(NFTNL_EXPR_LOOKUP_DREG, kWork);
}

void ExpressionWriter::LookUpVerdict(const std::string& map) {
  BeginLookup(map, 0);
  U32(NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

void ExpressionWriter::Hash(uint32_t word, size_t size, uint32_t modulus,
                            uint32_t seed) {
  Begin("hash");
  U32(NFTNL_EXPR_HASH_SREG, RegisterAt(word));
  U32(NFTNL_EXPR_HASH_DREG, kWork);
  U32(NFTNL_EXPR_HASH_LEN, static_cast<uint32_t>(size));
  U32(NFTNL_EXPR_HASH_MODULUS, modulus);
  U32(NFTNL_EXPR_HASH_SEED, seed);
  U32(NFTNL_EXPR_HASH_OFFSET, 0);
  U32(NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
}

void ExpressionWriter::SetMark() {
  Begin("meta");
  U32(NFTNL_EXPR_META_KEY, NFT_META_MARK);
  U32(NFTNL_EXPR_META_SREG, kWork);
}

void ExpressionWriter::SetTrace() {
  Begin("meta");
  U32(NFTNL_EXPR_META_KEY, NFT_META_NFTRACE);
  U32(NFTNL_EXPR_META_SREG, kWork);
}

void ExpressionWriter::SetCtMark() {
  Begin("ct");
  U32(NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
  U32(NFTNL_EXPR_CT_SREG, kWork);
}

void ExpressionWriter::Nat(NatKind kind, Family family, uint32_t port_word,
                           uint32_t flags) {
  Begin("nat");
  U32(NFTNL_EXPR_NAT_TYPE,
      kind == NatKind::kDnat ? NFT_NAT_DNAT : NFT_NAT_SNAT);
  U32(NFTNL_EXPR_NAT_FAMILY,
      family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
  U32(NFTNL_EXPR_NAT_REG_ADDR_MIN, kWork);
  if (port_word != 0) {
    U32(NFTNL_EXPR_NAT_REG_PROTO_MIN, RegisterAt(port_word));
  }
  if (flags != 0) U32(NFTNL_EXPR_NAT_FLAGS, flags);
}

void ExpressionWriter::Masquerade() { Begin("masq"); }

void ExpressionWriter::Reject(uint32_t type, uint8_t code) {
  Begin("reject");
  U32(NFTNL_EXPR_REJECT_TYPE, type);
  U8(NFTNL_EXPR_REJECT_CODE, code);
}

void ExpressionWriter::LoadRouteMss() {
  Begin("rt");
  U32(NFTNL_EXPR_RT_KEY, NFT_RT_TCPMSS);
  U32(NFTNL_EXPR_RT_DREG, kWork);
}

void ExpressionWriter::SwapMss() {
  Begin("byteorder");
  U32(NFTNL_EXPR_BYTEORDER_SREG, kWork);
  U32(NFTNL_EXPR_BYTEORDER_DREG, kWork);
  U32(NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
  U32(NFTNL_EXPR_BYTEORDER_LEN, sizeof(uint16_t));
  U32(NFTNL_EXPR_BYTEORDER_SIZE, sizeof(uint16_t));
}

void ExpressionWriter::WriteMss() {
  Begin("exthdr");
  U32(NFTNL_EXPR_EXTHDR_SREG, kWork);
  U8(NFTNL_EXPR_EXTHDR_TYPE, kMaxsegOption);
  U32(NFTNL_EXPR_EXTHDR_OFFSET, kMaxsegOffset);
  U32(NFTNL_EXPR_EXTHDR_LEN, kMaxsegSize);
  U32(NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
}

void ExpressionWriter::Count() { Begin("counter"); }

void ExpressionWriter::SetTimeout(const std::string& object) {
  Begin("objref");
  U32(NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_CT_TIMEOUT);
  Text(NFTNL_EXPR_OBJREF_IMM_NAME, object);
}

void ExpressionWriter::NoTrack() { Begin("notrack"); }

void ExpressionWriter::Decide(const Verdict& verdict) {
  Begin("immediate");
  U32(NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  U32(NFTNL_EXPR_IMM_VERDICT, VerdictCode(verdict.kind));
  if (!verdict.chain.empty()) Text(NFTNL_EXPR_IMM_CHAIN, verdict.chain);
}

}  // namespace edged::nftables
