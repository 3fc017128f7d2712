#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "common/nftables/print.h"
#include "common/nftables/rule_context.h"
#include "common/nftables/values.h"

namespace edged::nftables {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;

std::string_view Name(NatKind kind) {
  return kind == NatKind::kDnat ? "dnat" : "snat";
}

std::string_view Name(Family family) {
  return family == Family::kIpv4 ? "ip" : "ip6";
}

// `FIELD set FIELD & keep ^ value`, as nft splits what the kernel computes,
// (FIELD & keep) ^ value, to AND, XOR and OR.
std::string MarkText(Field field, uint32_t value, uint32_t keep) {
  const std::string_view name = nftables::Name(field);
  if (keep == 0) return fmt::format("{} set {:#010x}", name, value);
  const uint32_t set_bits = value & ~keep;
  const uint32_t flipped = value & keep;
  const uint32_t kept = keep | set_bits;
  std::string text = fmt::format("{} set {}", name, name);
  if (kept != UINT32_MAX) text += fmt::format(" & {:#010x}", kept);
  if (flipped != 0) text += fmt::format(" ^ {:#010x}", flipped);
  if (set_bits != 0) text += fmt::format(" | {:#010x}", set_bits);
  return text;
}

// Where a match without a mask compares bits.
std::string BitMatchText(std::string_view name, const Match& match) {
  const auto bits = [&match](const Bytes& value) {
    return BitsText(match.field, value);
  };
  if (!match.mask) {
    return fmt::format("{} {}{}", name, match.negate ? "! " : "",
                       bits(match.value));
  }
  if (IsZero(match.value)) {
    return fmt::format("{} {}{}", name, match.negate ? "" : "! ",
                       bits(*match.mask));
  }
  int ones = 0;
  for (const uint8_t byte : *match.mask) ones += std::popcount(byte);
  if (ones == 1) {
    return fmt::format("{} & {} {} {}", name, bits(*match.mask),
                       match.negate ? "!=" : "==", bits(match.value));
  }
  return fmt::format("{} {}{} / {}", name, match.negate ? "!= " : "",
                     bits(match.value), bits(*match.mask));
}

std::string MatchText(std::string_view name, const Match& match) {
  const std::string value = ValueText(match.field, match.value);
  const std::string_view negation = match.negate ? "!= " : "";
  if (!match.mask) return fmt::format("{} {}{}", name, negation, value);
  const int length = PrefixLength(match.field, *match.mask);
  if (length >= 0) {
    return fmt::format("{} {}{}/{}", name, negation, value, length);
  }
  return fmt::format("{} & {} {} {}", name, ValueText(match.field, *match.mask),
                     match.negate ? "!=" : "==", value);
}

// nft sorts what it lists, as numbers.
std::vector<Bytes> Sorted(const MatchAnyOf& match) {
  std::vector<Bytes> values = match.values;
  const bool reversed =
      IsHostOrder(match.field) && std::endian::native == std::endian::little;
  std::ranges::sort(values, [reversed](const Bytes& left, const Bytes& right) {
    if (!reversed) return left < right;
    return std::lexicographical_compare(left.rbegin(), left.rend(),
                                        right.rbegin(), right.rend());
  });
  return values;
}

std::string_view RejectText(RejectKind kind, std::optional<Family> family) {
  switch (kind) {
    case RejectKind::kTcpReset:
      return "reject with tcp reset";
    case RejectKind::kPortUnreachable:
      if (!family) return "reject";
      return *family == Family::kIpv4 ? "reject with icmp port-unreachable"
                                      : "reject with icmpv6 port-unreachable";
    case RejectKind::kHostUnreachable:
      return "reject with icmpx host-unreachable";
    case RejectKind::kAdminProhibited:
      return "reject with icmpx admin-prohibited";
  }
  return "";
}

// The statements of one rule so far. nft leaves out a match of the family or
// the protocol when a later match implies it.
class RuleText {
 public:
  void Add(const Statement& original) {
    const Statement statement = Simplified(original);
    if (IsKnown(statement)) return;
    DropImplied(statement);
    parts_.push_back(
        std::visit([this](const auto& part) { return Text(part); }, statement));
    Remember(statement);
    context_ = After(context_, statement);
  }

  std::string Join() const {
    std::string text;
    for (const std::string& part : parts_) {
      if (part.empty()) continue;
      text += fmt::format("{}{}", text.empty() ? "" : " ", part);
    }
    return text;
  }

 private:
  // A match of the family or the protocol that the rule has already.
  bool IsKnown(const Statement& statement) const {
    const auto* match = std::get_if<Match>(&statement);
    const bool matches_protocol =
        match != nullptr && !match->negate &&
        (match->field == Field::kL4proto || match->field == Field::kNfproto);
    return matches_protocol && After(context_, statement) == context_;
  }

  void DropImplied(const Statement& statement) {
    for (const Field field : FieldsOf(statement)) {
      if (IsTransport(field)) Drop(protocol_);
      if (FamilyOf(field)) Drop(family_);
    }
    const auto* reject = std::get_if<Reject>(&statement);
    if (reject != nullptr && reject->kind == RejectKind::kPortUnreachable) {
      Drop(family_);
    }
  }

  void Drop(std::optional<size_t>& part) {
    if (part) parts_[*part].clear();
    part.reset();
  }

  // Keeps in mind what a later match may imply; a statement that does
  // something comes too late to be reordered, and ends that.
  void Remember(const Statement& statement) {
    if (ActsOn(statement)) {
      family_.reset();
      protocol_.reset();
      return;
    }
    const auto* match = std::get_if<Match>(&statement);
    if (match == nullptr || match->negate || match->mask) return;
    const size_t here = parts_.size() - 1;
    if (match->field == Field::kL4proto && !protocol_) protocol_ = here;
    if (match->field == Field::kNfproto && !family_) family_ = here;
  }

  std::string FieldText(Field field) const {
    if (field != Field::kThSport && field != Field::kThDport) {
      return std::string(nftables::Name(field));
    }
    const std::string_view port = field == Field::kThSport ? "sport" : "dport";
    if (context_.protocol == kTcp) return fmt::format("tcp {}", port);
    if (context_.protocol == kUdp) return fmt::format("udp {}", port);
    return fmt::format("th {}", port);
  }

  std::string KeyText(const std::vector<Field>& key) const {
    std::string text;
    for (const Field field : key) {
      text += fmt::format("{}{}", text.empty() ? "" : " . ", FieldText(field));
    }
    return text;
  }

  std::string Text(const Match& match) const {
    const std::string name = FieldText(match.field);
    return IsBits(match.field) ? BitMatchText(name, match)
                               : MatchText(name, match);
  }
  std::string Text(const MatchAnyOf& match) const {
    std::string values;
    for (const Bytes& value : Sorted(match)) {
      values += fmt::format("{}{}", values.empty() ? "" : ", ",
                            ValueText(match.field, value));
    }
    return fmt::format("{} {}{{ {} }}", FieldText(match.field),
                       match.negate ? "!= " : "", values);
  }
  std::string Text(const MatchSet& match) const {
    return fmt::format("{} {}@{}", KeyText(match.key),
                       match.negate ? "!= " : "", match.set);
  }
  std::string Text(const MatchPathMtu& match) const {
    return fmt::format("icmp code frag-needed icmp mtu < {}", match.below);
  }
  std::string Text(const VerdictMap& map) const {
    return fmt::format("{} vmap @{}", KeyText(map.key), map.map);
  }
  std::string Text(const SetCtMark& set) const {
    return MarkText(Field::kCtMark, set.value, set.keep);
  }
  std::string Text(const SetMark& set) const {
    return MarkText(Field::kMark, set.value, set.keep);
  }
  std::string Text(const SetCtMarkFromMap& map) const {
    return fmt::format("ct mark set {} map @{}", KeyText(map.key), map.map);
  }
  std::string Text(const NatTo& nat) const {
    const std::string target =
        nat.port ? SocketAddress{nat.address, *nat.port}.ToString()
                 : nat.address.ToString();
    return fmt::format("{} {} to {}", Name(nat.kind),
                       Name(nat.address.family()), target);
  }
  std::string Text(const NatToMap& nat) const {
    return fmt::format("{} {} to {} map @{}", Name(nat.kind), Name(nat.family),
                       KeyText(nat.key), nat.map);
  }
  std::string Text(const NatByHash& nat) const {
    std::vector<Type> types = {nat.family == Family::kIpv4 ? Type::kIpv4Addr
                                                           : Type::kIpv6Addr};
    if (nat.with_port) types.push_back(Type::kInetService);
    std::string slots;
    for (size_t i = 0; i < nat.slots.size(); ++i) {
      slots += fmt::format("{}{} : {}", i == 0 ? "" : ", ", i,
                           ConcatenationText(types, nat.slots[i], {}));
    }
    return fmt::format("dnat {} to jhash {} mod {} seed {:#x} map {{ {} }}",
                       Name(nat.family), KeyText(nat.key), nat.slots.size(),
                       nat.seed, slots);
  }
  std::string Text(const Masquerade&) const { return "masquerade"; }
  std::string Text(const Reject& reject) const {
    const bool needs_tcp =
        reject.kind == RejectKind::kTcpReset && !context_.protocol;
    return fmt::format("{}{}", needs_tcp ? "meta l4proto tcp " : "",
                       RejectText(reject.kind, context_.family));
  }
  std::string Text(const ClampMss&) const {
    return "tcp option maxseg size set rt mtu";
  }
  std::string Text(const Counter&) const { return "counter packets 0 bytes 0"; }
  std::string Text(const SetCtTimeout& set) const {
    return fmt::format("ct timeout set \"{}\"", set.object);
  }
  std::string Text(const SetTrace&) const { return "meta nftrace set 1"; }
  std::string Text(const NoTrack&) const { return "notrack"; }
  std::string Text(const Verdict& verdict) const { return Print(verdict); }

  std::vector<std::string> parts_;  // empty: left out
  RuleContext context_;
  std::optional<size_t> family_;  // part that a later match may imply
  std::optional<size_t> protocol_;
};

}  // namespace

std::string Print(const Verdict& verdict) {
  switch (verdict.kind) {
    case VerdictKind::kAccept:
      return "accept";
    case VerdictKind::kDrop:
      return "drop";
    case VerdictKind::kReturn:
      return "return";
    case VerdictKind::kJump:
      return "jump " + verdict.chain;
    case VerdictKind::kGoto:
      return "goto " + verdict.chain;
  }
  return "";
}

std::string Print(const Rule& rule) {
  RuleText text;
  for (const Statement& statement : rule.statements) text.Add(statement);
  return text.Join();
}

}  // namespace edged::nftables
