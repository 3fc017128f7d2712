#include "common/nftables/rule_compiler.h"

#include <netinet/in.h>  // before the kernel's headers, which yield to it

#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/nftables/data_type.h"
#include "common/nftables/expression_writer.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

// Where the port lies behind a mapped address.
constexpr uint32_t WordAfter(Family family) {
  return family == Family::kIpv4 ? 1 : kWordsPerRegister;
}

constexpr uint8_t ProtocolFamily(Family family) {
  return family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

bool IsAddress(Field field) {
  return field == Field::kIpSaddr || field == Field::kIpDaddr ||
         field == Field::kIp6Saddr || field == Field::kIp6Daddr;
}

bool IsBits(Field field) {
  return field == Field::kTcpFlags || field == Field::kCtState ||
         field == Field::kCtStatus;
}

bool TakesMask(Field field) {
  return IsAddress(field) || IsBits(field) || field == Field::kMark ||
         field == Field::kCtMark || field == Field::kThSport ||
         field == Field::kThDport;
}

bool IsZero(const Bytes& bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

// The number of leading bytes when `mask` is whole bytes of ones and then
// zeros: nft loads only those.
std::optional<size_t> WholeBytes(const Bytes& mask) {
  const auto end =
      std::ranges::find_if(mask, [](uint8_t byte) { return byte != 0xff; });
  if (!std::all_of(end, mask.end(), [](uint8_t byte) { return byte == 0; })) {
    return std::nullopt;
  }
  return end - mask.begin();
}

class Compiler {
 public:
  explicit Compiler(uint32_t first_set_id) : next_set_id_(first_set_id) {}

  absl::Status Add(const Statement& statement) {
    if (ended_) {
      return InvalidArgument(
          "nothing can follow a verdict, a translation or reject");
    }
    return std::visit([this](const auto& part) { return Compile(part); },
                      statement);
  }

  CompiledRule Finish() && { return std::move(rule_); }

 private:
  absl::Status Compile(const Match& match);
  absl::Status Compile(const MatchAnyOf& match);
  absl::Status Compile(const MatchSet& match);
  absl::Status Compile(const VerdictMap& map);
  absl::Status Compile(const SetCtMark& set);
  absl::Status Compile(const SetMark& set);
  absl::Status Compile(const SetCtMarkFromMap& set);
  absl::Status Compile(const NatTo& nat);
  absl::Status Compile(const NatToMap& nat);
  absl::Status Compile(const NatByHash& nat);
  absl::Status Compile(const Masquerade& masquerade);
  absl::Status Compile(const Reject& reject);
  absl::Status Compile(const ClampMss& clamp);
  absl::Status Compile(const Counter& counter);
  absl::Status Compile(const Verdict& verdict);

  absl::Status CompileValue(Field field, const Bytes& value, bool negate);
  absl::Status CompileMasked(const Match& match);
  absl::Status CompileProtocol(Field field, uint8_t value, bool negate);
  absl::Status RequireNfproto(uint8_t value);
  absl::Status RequireL4proto(uint8_t value);
  absl::Status RequireProtocolsOf(Field field);
  absl::Status RequireTransport(const std::vector<Field>& key);
  absl::Status RefuseOtherFamily(Family family);
  absl::Status LoadKey(const std::vector<Field>& key, uint32_t word);
  uint32_t AddAnonymousSet(SetLayout layout, std::vector<Element> elements);

  CompiledRule rule_;
  ExpressionWriter out_{rule_.expressions};
  uint32_t next_set_id_;
  // What the rule has established so far about each packet that is still in it.
  std::optional<uint8_t> nfproto_;
  std::optional<uint8_t> l4proto_;
  bool has_transport_ = false;  // l4proto is one of some
  bool ended_ = false;
};

uint32_t Compiler::AddAnonymousSet(SetLayout layout,
                                   std::vector<Element> elements) {
  layout.id = next_set_id_++;
  layout.size = static_cast<uint32_t>(elements.size());
  layout.flags |= NFT_SET_ANONYMOUS | NFT_SET_CONSTANT;
  rule_.sets.push_back({std::move(layout), std::move(elements)});
  return rule_.sets.back().layout.id;
}

absl::Status Compiler::RequireNfproto(uint8_t value) {
  if (nfproto_ == value) return absl::OkStatus();
  if (nfproto_) {
    return InvalidArgument("no packet is of two families, {} and {}", *nfproto_,
                           value);
  }
  out_.Load(Field::kNfproto);
  out_.Compare({value}, false);
  nfproto_ = value;
  return absl::OkStatus();
}

absl::Status Compiler::RequireL4proto(uint8_t value) {
  if (l4proto_ == value) return absl::OkStatus();
  if (l4proto_) {
    return InvalidArgument("no packet is of two protocols, {} and {}",
                           *l4proto_, value);
  }
  out_.Load(Field::kL4proto);
  out_.Compare({value}, false);
  l4proto_ = value;
  return absl::OkStatus();
}

absl::Status Compiler::RequireProtocolsOf(Field field) {
  switch (field) {
    case Field::kIpSaddr:
    case Field::kIpDaddr:
      return RequireNfproto(NFPROTO_IPV4);
    case Field::kIp6Saddr:
    case Field::kIp6Daddr:
      return RequireNfproto(NFPROTO_IPV6);
    case Field::kTcpFlags:
      return RequireL4proto(IPPROTO_TCP);
    case Field::kIcmpType:
      RETURN_IF_ERROR(RequireNfproto(NFPROTO_IPV4));
      return RequireL4proto(IPPROTO_ICMP);
    case Field::kIcmpv6Type:
      RETURN_IF_ERROR(RequireNfproto(NFPROTO_IPV6));
      return RequireL4proto(IPPROTO_ICMPV6);
    default:
      return absl::OkStatus();
  }
}

// nft translates ports only for a transport protocol that the rule has named.
absl::Status Compiler::RequireTransport(const std::vector<Field>& key) {
  const bool in_key = std::ranges::count(key, Field::kL4proto) > 0;
  if (l4proto_ || has_transport_ || in_key) return absl::OkStatus();
  return InvalidArgument(
      "a port is translated only after a match of meta l4proto");
}

absl::Status Compiler::RefuseOtherFamily(Family family) {
  if (!nfproto_ || *nfproto_ == ProtocolFamily(family)) return absl::OkStatus();
  return InvalidArgument("no translation into another address family");
}

absl::Status Compiler::LoadKey(const std::vector<Field>& key, uint32_t word) {
  for (const Field field : key) RETURN_IF_ERROR(RequireProtocolsOf(field));
  for (const Field field : key) {
    out_.Load(field, word);
    word += WordsOf(SizeOf(field));
  }
  return absl::OkStatus();
}

absl::Status Compiler::CompileProtocol(Field field, uint8_t value,
                                       bool negate) {
  if (!negate) {
    return field == Field::kNfproto ? RequireNfproto(value)
                                    : RequireL4proto(value);
  }
  out_.Load(field);
  out_.Compare({value}, true);
  return absl::OkStatus();
}

// Exactly this value.
absl::Status Compiler::CompileValue(Field field, const Bytes& value,
                                    bool negate) {
  if (field == Field::kNfproto || field == Field::kL4proto) {
    return CompileProtocol(field, value[0], negate);
  }
  RETURN_IF_ERROR(RequireProtocolsOf(field));
  out_.Load(field);
  out_.Compare(value, negate);
  return absl::OkStatus();
}

absl::Status Compiler::CompileMasked(const Match& match) {
  const Bytes& mask = *match.mask;
  if (!TakesMask(match.field)) {
    return InvalidArgument("a mask on a field that has no bits");
  }
  for (size_t i = 0; i < mask.size(); ++i) {
    if ((match.value[i] & ~mask[i]) != 0) {
      return InvalidArgument("a value with bits outside its mask");
    }
  }
  if (IsZero(mask)) return InvalidArgument("a mask without bits");
  const auto whole = WholeBytes(mask);
  const bool everything = whole == mask.size();
  if (everything && !IsBits(match.field)) {
    return CompileValue(match.field, match.value, match.negate);
  }
  RETURN_IF_ERROR(RequireProtocolsOf(match.field));
  if (whole && IsAddress(match.field)) {
    out_.LoadPart(match.field, *whole);
    out_.Compare(Bytes(match.value.begin(), match.value.begin() + *whole),
                 match.negate);
    return absl::OkStatus();
  }
  out_.Load(match.field);
  out_.Mask(mask, Bytes(mask.size()));
  out_.Compare(match.value, match.negate);
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const Match& match) {
  if (match.mask) return CompileMasked(match);
  if (!IsBits(match.field)) {
    return CompileValue(match.field, match.value, match.negate);
  }
  if (IsZero(match.value)) return InvalidArgument("none of no bits is set");
  RETURN_IF_ERROR(RequireProtocolsOf(match.field));
  const Bytes zero(match.value.size());
  out_.Load(match.field);
  out_.Mask(match.value, zero);
  out_.Compare(zero, !match.negate);
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const MatchAnyOf& match) {
  std::vector<Bytes> values = match.values;
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  // nft turns a set of one into a comparison.
  if (values.size() == 1) {
    return CompileValue(match.field, values[0], match.negate);
  }
  RETURN_IF_ERROR(RequireProtocolsOf(match.field));
  out_.Load(match.field);
  SetLayout layout;
  layout.name = "__set%d";
  layout.key = DataTypeOf(match.field);
  std::vector<Element> elements;
  for (Bytes& value : values) elements.push_back({.key = std::move(value)});
  out_.LookUp(layout.name, AddAnonymousSet(layout, std::move(elements)),
              match.negate);
  if (match.field == Field::kL4proto && !match.negate) has_transport_ = true;
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const MatchSet& match) {
  RETURN_IF_ERROR(LoadKey(match.key, 0));
  out_.LookUp(match.set, 0, match.negate);
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const VerdictMap& map) {
  RETURN_IF_ERROR(LoadKey(map.key, 0));
  out_.LookUpVerdict(map.map);
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const SetCtMark& set) {
  if (set.keep == 0) {
    out_.Immediate(MarkBytes(set.value));
  } else {
    out_.Load(Field::kCtMark);
    out_.Mask(MarkBytes(set.keep), MarkBytes(set.value));
  }
  out_.SetCtMark();
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const SetMark& set) {
  if (set.keep == 0) {
    out_.Immediate(MarkBytes(set.value));
  } else {
    out_.Load(Field::kMark);
    out_.Mask(MarkBytes(set.keep), MarkBytes(set.value));
  }
  out_.SetMark();
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const SetCtMarkFromMap& set) {
  RETURN_IF_ERROR(LoadKey(set.key, 0));
  out_.LookUpData(set.map, 0);
  out_.SetCtMark();
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const NatTo& nat) {
  const Family family = nat.address.family();
  RETURN_IF_ERROR(RefuseOtherFamily(family));
  out_.Immediate(ToBytes(nat.address));
  if (nat.port) {
    RETURN_IF_ERROR(RequireTransport({}));
    out_.Immediate(PortBytes(*nat.port), kWordsPerRegister);
  }
  out_.Nat(nat.kind, family, nat.port ? kWordsPerRegister : 0,
           nat.port ? NF_NAT_RANGE_PROTO_SPECIFIED : 0);
  ended_ = true;
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const NatToMap& nat) {
  if (nat.with_port) RETURN_IF_ERROR(RequireTransport(nat.key));
  RETURN_IF_ERROR(LoadKey(nat.key, 0));
  RETURN_IF_ERROR(RefuseOtherFamily(nat.family));
  out_.LookUpData(nat.map, 0);
  out_.Nat(nat.kind, nat.family, nat.with_port ? WordAfter(nat.family) : 0, 0);
  ended_ = true;
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const NatByHash& nat) {
  if (nat.with_port) RETURN_IF_ERROR(RequireTransport({}));
  RETURN_IF_ERROR(LoadKey(nat.key, kWordsPerRegister));
  RETURN_IF_ERROR(RefuseOtherFamily(nat.family));
  out_.Hash(kWordsPerRegister, SizeOf(nat.key),
            static_cast<uint32_t>(nat.slots.size()), nat.seed);
  std::vector<Type> data = {nat.family == Family::kIpv4 ? Type::kIpv4Addr
                                                        : Type::kIpv6Addr};
  if (nat.with_port) data.push_back(Type::kInetService);
  SetLayout layout;
  layout.name = "__map%d";
  layout.flags = NFT_SET_MAP;
  layout.key = HashType();
  layout.data = Concatenated(DataTypesOf(data));
  std::vector<Element> elements;
  for (const Bytes& slot : nat.slots) {
    const auto number = static_cast<uint32_t>(elements.size());
    elements.push_back({.key = MarkBytes(number), .data = slot});
  }
  out_.LookUpData(layout.name, AddAnonymousSet(layout, std::move(elements)));
  out_.Nat(NatKind::kDnat, nat.family,
           nat.with_port ? WordAfter(nat.family) : 0, 0);
  ended_ = true;
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const Masquerade&) {
  out_.Masquerade();
  ended_ = true;
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const Reject& reject) {
  ended_ = true;
  uint32_t type = NFT_REJECT_ICMPX_UNREACH;
  uint8_t code = 0;
  switch (reject.kind) {
    case RejectKind::kTcpReset:
      RETURN_IF_ERROR(RequireL4proto(IPPROTO_TCP));
      type = NFT_REJECT_TCP_RST;
      break;
    case RejectKind::kPortUnreachable:
      code = NFT_REJECT_ICMPX_PORT_UNREACH;
      break;
    case RejectKind::kHostUnreachable:
      code = NFT_REJECT_ICMPX_HOST_UNREACH;
      break;
    case RejectKind::kAdminProhibited:
      code = NFT_REJECT_ICMPX_ADMIN_PROHIBITED;
      break;
  }
  // nft prints a plain `reject`, and reads it as that of the rule's family.
  if (reject.kind == RejectKind::kPortUnreachable && nfproto_) {
    constexpr uint8_t kIcmpPort = 3, kIcmpv6Port = 4;
    type = NFT_REJECT_ICMP_UNREACH;
    code = nfproto_ == NFPROTO_IPV4 ? kIcmpPort : kIcmpv6Port;
  }
  out_.Reject(type, code);
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const ClampMss&) {
  out_.LoadRouteMss();
  out_.SwapMss();
  out_.WriteMss();
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const Counter&) {
  out_.Count();
  return absl::OkStatus();
}

absl::Status Compiler::Compile(const Verdict& verdict) {
  out_.Decide(verdict);
  ended_ = true;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CompiledRule> Compile(const Rule& rule, uint32_t first_set_id) {
  RETURN_IF_ERROR(CheckRule(rule));
  Compiler compiler(first_set_id);
  for (const Statement& statement : rule.statements) {
    RETURN_IF_ERROR(compiler.Add(statement));
  }
  CompiledRule compiled = std::move(compiler).Finish();
  for (const Expression& expression : compiled.expressions) {
    if (expression == nullptr) return Internal("libnftnl lacks an expression");
  }
  return compiled;
}

}  // namespace edged::nftables
