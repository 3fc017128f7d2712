#include "common/nftables/rule_compiler.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>

#include <set>
#include <utility>

#include "common/nftables/check.h"
#include "common/nftables/data_type.h"
#include "common/nftables/expression_writer.h"
#include "common/nftables/rule_context.h"
#include "common/nftables/values.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

// Where the port lies behind a mapped address.
constexpr uint32_t WordAfter(Family family) {
  return family == Family::kIpv4 ? 1 : kWordsPerRegister;
}

constexpr uint8_t kTcp = 6;

constexpr uint8_t NfprotoOf(Family family) {
  return family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

// How many bytes of an address its mask keeps, when it keeps whole bytes from
// the left: nft loads only those. 0: it needs the mask.
size_t WholeBytes(Field field, const Bytes& mask) {
  const int bits = FamilyOf(field) ? PrefixLength(field, mask) : -1;
  return bits > 0 && bits % 8 == 0 ? bits / 8 : 0;
}

// `th sport A th dport B`: nft compares both at once.
bool ComparesPorts(const Statement& first, const Statement& second) {
  const auto compares = [](const Statement& statement, Field field) {
    const auto* match = std::get_if<Match>(&statement);
    return match != nullptr && match->field == field && !match->negate &&
           !match->mask;
  };
  return compares(first, Field::kThSport) && compares(second, Field::kThDport);
}

// Takes the statements of a rule that CheckRule finds good, one by one.
class Compiler {
 public:
  explicit Compiler(uint32_t first_set_id) : next_set_id_(first_set_id) {}

  void Add(const Statement& statement) {
    const RuleContext after = After(context_, statement);
    std::visit([this](const auto& part) { Compile(part); },
               Simplified(statement));
    context_ = after;
  }

  void AddPorts(const Match& source, const Match& destination) {
    Bytes both = source.value;
    both.insert(both.end(), destination.value.begin(), destination.value.end());
    out_.LoadPart(Field::kThSport, both.size());
    out_.Compare(both, false);
  }

  CompiledRule Finish() && { return std::move(rule_); }

 private:
  void Compile(const Match& match);
  void Compile(const MatchAnyOf& match);
  void Compile(const MatchSet& match);
  void Compile(const MatchPathMtu& match);
  void Compile(const VerdictMap& map);
  void Compile(const SetCtMark& set);
  void Compile(const SetMark& set);
  void Compile(const SetCtMarkFromMap& set);
  void Compile(const NatTo& nat);
  void Compile(const NatToMap& nat);
  void Compile(const NatByHash& nat);
  void Compile(const Masquerade&) { out_.Masquerade(); }
  void Compile(const Reject& reject);
  void Compile(const ClampMss&);
  void Compile(const Counter&) { out_.Count(); }
  void Compile(const SetCtTimeout& set) { out_.SetTimeout(set.object); }
  void Compile(const SetTrace&);
  void Compile(const NoTrack&) { out_.NoTrack(); }
  void Compile(const Verdict& verdict) { out_.Decide(verdict); }

  // Checks in front of a field what only packets that have it can be, unless
  // the rule has done so.
  void Require(Field field);
  void RequireFamily(Family family);
  void RequireProtocol(uint8_t protocol);
  // Says nothing new about packets that are still in the rule.
  bool IsKnown(const Match& match) const;
  void LoadKey(const std::vector<Field>& key, uint32_t word);
  uint32_t AddAnonymousSet(SetLayout layout, std::vector<Element> elements);

  CompiledRule rule_;
  ExpressionWriter out_{rule_.expressions};
  uint32_t next_set_id_;
  RuleContext context_;
};

uint32_t Compiler::AddAnonymousSet(SetLayout layout,
                                   std::vector<Element> elements) {
  layout.id = next_set_id_++;
  layout.size = static_cast<uint32_t>(elements.size());
  layout.flags |= NFT_SET_ANONYMOUS | NFT_SET_CONSTANT;
  rule_.sets.push_back({std::move(layout), std::move(elements)});
  return rule_.sets.back().layout.id;
}

void Compiler::RequireFamily(Family family) {
  if (context_.family) return;
  out_.Load(Field::kNfproto);
  out_.Compare({NfprotoOf(family)}, false);
  context_.family = family;
}

void Compiler::RequireProtocol(uint8_t protocol) {
  if (context_.protocol) return;
  out_.Load(Field::kL4proto);
  out_.Compare({protocol}, false);
  context_.protocol = protocol;
}

void Compiler::Require(Field field) {
  if (const auto family = FamilyOf(field)) RequireFamily(*family);
  if (const auto protocol = ProtocolOf(field)) RequireProtocol(*protocol);
}

bool Compiler::IsKnown(const Match& match) const {
  if (match.negate || match.mask) return false;
  if (match.field == Field::kL4proto) {
    return context_.protocol == match.value[0];
  }
  return match.field == Field::kNfproto && context_.family &&
         NfprotoOf(*context_.family) == match.value[0];
}

void Compiler::LoadKey(const std::vector<Field>& key, uint32_t word) {
  for (const Field field : key) Require(field);
  for (const Field field : key) {
    out_.Load(field, word);
    word += WordsOf(SizeOf(field));
  }
}

void Compiler::Compile(const Match& match) {
  if (IsKnown(match)) return;
  Require(match.field);
  if (!match.mask) {
    out_.Load(match.field);
    if (!IsBits(match.field)) return out_.Compare(match.value, match.negate);
    const Bytes none(match.value.size());
    out_.Mask(match.value, none);
    return out_.Compare(none, !match.negate);
  }
  if (const size_t size = WholeBytes(match.field, *match.mask); size > 0) {
    const auto begin = match.value.begin();
    out_.LoadPart(match.field, size);
    return out_.Compare(Bytes(begin, begin + size), match.negate);
  }
  out_.Load(match.field);
  out_.Mask(*match.mask, Bytes(match.value.size()));
  out_.Compare(match.value, match.negate);
}

void Compiler::Compile(const MatchAnyOf& match) {
  Require(match.field);
  out_.Load(match.field);
  SetLayout layout;
  layout.name = "__set%d";
  layout.key = DataTypeOf(match.field);
  std::set<Bytes> values(match.values.begin(), match.values.end());
  std::vector<Element> elements;
  for (const Bytes& value : values) elements.push_back({.key = value});
  out_.LookUp(layout.name, AddAnonymousSet(layout, std::move(elements)),
              match.negate);
}

void Compiler::Compile(const MatchSet& match) {
  LoadKey(match.key, 0);
  out_.LookUp(match.set, 0, match.negate);
}

// nft compares type and code, which stand side by side, at once.
void Compiler::Compile(const MatchPathMtu& match) {
  constexpr uint8_t kUnreachable = 3, kFragmentationNeeded = 4;
  Require(Field::kIcmpType);
  out_.LoadPart(Field::kIcmpType, 2);
  out_.Compare({kUnreachable, kFragmentationNeeded}, false);
  out_.LoadIcmpMtu();
  out_.CompareBelow(PortBytes(match.below));
}

void Compiler::Compile(const VerdictMap& map) {
  LoadKey(map.key, 0);
  out_.LookUpVerdict(map.map);
}

void Compiler::Compile(const SetCtMark& set) {
  if (set.keep == 0) {
    out_.Immediate(MarkBytes(set.value));
  } else {
    out_.Load(Field::kCtMark);
    out_.Mask(MarkBytes(set.keep), MarkBytes(set.value));
  }
  out_.SetCtMark();
}

void Compiler::Compile(const SetMark& set) {
  if (set.keep == 0) {
    out_.Immediate(MarkBytes(set.value));
  } else {
    out_.Load(Field::kMark);
    out_.Mask(MarkBytes(set.keep), MarkBytes(set.value));
  }
  out_.SetMark();
}

void Compiler::Compile(const SetCtMarkFromMap& set) {
  LoadKey(set.key, 0);
  out_.LookUpData(set.map, 0);
  out_.SetCtMark();
}

void Compiler::Compile(const NatTo& nat) {
  out_.Immediate(ToBytes(nat.address));
  if (nat.port) out_.Immediate(PortBytes(*nat.port), kWordsPerRegister);
  out_.Nat(nat.kind, nat.address.family(), nat.port ? kWordsPerRegister : 0,
           nat.port ? NF_NAT_RANGE_PROTO_SPECIFIED : 0);
}

void Compiler::Compile(const NatToMap& nat) {
  LoadKey(nat.key, 0);
  out_.LookUpData(nat.map, 0);
  out_.Nat(nat.kind, nat.family, nat.with_port ? WordAfter(nat.family) : 0, 0);
}

void Compiler::Compile(const NatByHash& nat) {
  LoadKey(nat.key, kWordsPerRegister);
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
}

void Compiler::Compile(const Reject& reject) {
  switch (reject.kind) {
    case RejectKind::kTcpReset:
      RequireProtocol(kTcp);
      return out_.Reject(NFT_REJECT_TCP_RST, 0);
    case RejectKind::kHostUnreachable:
      return out_.Reject(NFT_REJECT_ICMPX_UNREACH,
                         NFT_REJECT_ICMPX_HOST_UNREACH);
    case RejectKind::kAdminProhibited:
      return out_.Reject(NFT_REJECT_ICMPX_UNREACH,
                         NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
    case RejectKind::kPortUnreachable:
      break;
  }
  if (!context_.family) {
    return out_.Reject(NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH);
  }
  // nft prints this as a plain `reject`, and reads that as the one of the
  // family that the rule has matched.
  constexpr uint8_t kIcmpPort = 3, kIcmpv6Port = 4;
  out_.Reject(NFT_REJECT_ICMP_UNREACH,
              context_.family == Family::kIpv4 ? kIcmpPort : kIcmpv6Port);
}

void Compiler::Compile(const SetTrace&) {
  out_.Immediate({1});
  out_.SetTrace();
}

void Compiler::Compile(const ClampMss&) {
  out_.LoadRouteMss();
  out_.SwapMss();
  out_.WriteMss();
}

}  // namespace

absl::StatusOr<CompiledRule> Compile(const Rule& rule, uint32_t first_set_id) {
  RETURN_IF_ERROR(CheckRule(rule));
  Compiler compiler(first_set_id);
  const std::vector<Statement>& statements = rule.statements;
  for (size_t i = 0; i < statements.size(); ++i) {
    if (i + 1 < statements.size() &&
        ComparesPorts(statements[i], statements[i + 1])) {
      compiler.AddPorts(std::get<Match>(statements[i]),
                        std::get<Match>(statements[i + 1]));
      ++i;
    } else {
      compiler.Add(statements[i]);
    }
  }
  CompiledRule compiled = std::move(compiler).Finish();
  for (const Expression& expression : compiled.expressions) {
    if (expression == nullptr) return Internal("libnftnl lacks an expression");
  }
  return compiled;
}

}  // namespace edged::nftables
