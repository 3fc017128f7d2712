#include "common/nftables/check.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/nftables/rule_context.h"
#include "common/nftables/values.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

constexpr size_t kNameLimit = 256;  // NFT_NAME_MAXLEN, with the final zero

// What a concatenation can take in registers (NFT_REG32_COUNT × 4).
constexpr size_t kConcatenationLimit = 64;

constexpr uint8_t kTcp = 6, kUdp = 17;

absl::Status CheckSize(std::string_view what, size_t size, size_t wanted) {
  if (size == wanted) return absl::OkStatus();
  return InvalidArgument("{} has {} bytes, not {}", what, size, wanted);
}

absl::Status CheckVerdict(const Verdict& verdict) {
  const bool to_chain =
      verdict.kind == VerdictKind::kJump || verdict.kind == VerdictKind::kGoto;
  if (to_chain) return CheckName(verdict.chain);
  if (verdict.chain.empty()) return absl::OkStatus();
  return InvalidArgument("a verdict that does not jump names chain {}",
                         verdict.chain);
}

// Of one part of a key. nft 1.0.6 reads marks in a concatenation's ranges with
// their bytes swapped, and makes wildcards of names' ranges.
absl::Status CheckRange(Type type, bool concatenated, const uint8_t* first,
                        const uint8_t* last) {
  const size_t size = SizeOf(type);
  if (std::equal(first, first + size, last)) return absl::OkStatus();
  if (type == Type::kIfname || (type == Type::kMark && concatenated)) {
    return InvalidArgument("nft cannot load ranges of type {} here",
                           Name(type));
  }
  const bool in_order = IsHostOrder(type)
                            ? std::lexicographical_compare(
                                  std::make_reverse_iterator(first + size),
                                  std::make_reverse_iterator(first),
                                  std::make_reverse_iterator(last + size),
                                  std::make_reverse_iterator(last))
                            : std::lexicographical_compare(first, first + size,
                                                           last, last + size);
  if (in_order) return absl::OkStatus();
  return InvalidArgument("the range {} to {} ends before it begins",
                         ValueText(type, first), ValueText(type, last));
}

absl::Status CheckRanges(const Set& set, const Element& element) {
  if (element.key_end.empty()) return absl::OkStatus();
  if (!set.interval) return InvalidArgument("it takes no ranges");
  RETURN_IF_ERROR(CheckSize("the end of the range", element.key_end.size(),
                            element.key.size()));
  size_t offset = 0;
  for (const Type type : set.key) {
    RETURN_IF_ERROR(CheckRange(type, set.key.size() > 1,
                               element.key.data() + offset,
                               element.key_end.data() + offset));
    offset += (SizeOf(type) + 3) / 4 * 4;
  }
  return absl::OkStatus();
}

// Judges the statements of a rule one after the other.
class RuleCheck {
 public:
  absl::Status Check(const Statement& statement) {
    if (ended_) return InvalidArgument("nothing can follow a verdict");
    RETURN_IF_ERROR(CheckFields(FieldsOf(statement)));
    const auto* any_of = std::get_if<MatchAnyOf>(&statement);
    if (any_of != nullptr && IsBits(any_of->field)) {
      return InvalidArgument("{} takes no set: a match may have several bits",
                             Name(any_of->field));
    }
    RETURN_IF_ERROR(
        std::visit([this](const auto& part) { return CheckOne(part); },
                   Simplified(statement)));
    context_ = After(context_, statement);
    acts_ |= ActsOn(statement);
    ++position_;
    return absl::OkStatus();
  }

 private:
  // A field that packets which passed the earlier matches cannot have.
  absl::Status CheckFields(const std::vector<Field>& fields) {
    RuleContext context = context_;
    for (const Field field : fields) {
      const auto family = FamilyOf(field);
      if (family && context.family.value_or(*family) != *family) {
        return InvalidArgument("{} after a match of the other family",
                               Name(field));
      }
      const auto protocol = ProtocolOf(field);
      const bool has_ports =
          context.protocol.value_or(kTcp) == kTcp || *context.protocol == kUdp;
      if (protocol ? context.protocol.value_or(*protocol) != *protocol
                   : IsTransport(field) && !has_ports) {
        return InvalidArgument("{} after a match of protocol {}", Name(field),
                               *context.protocol);
      }
      if (protocol && matches_transport_) {
        return InvalidArgument("{} after a match of several protocols",
                               Name(field));
      }
      if (family) {
        context.family = family;
        reads_address_ = true;
      }
      if (protocol) context.protocol = protocol;
    }
    return absl::OkStatus();
  }

  absl::Status CheckOne(const Match& match) {
    const size_t size = SizeOf(match.field);
    RETURN_IF_ERROR(CheckSize(Name(match.field), match.value.size(), size));
    if (match.field == Field::kNfproto) {
      if (match.value[0] != 2 && match.value[0] != 10) {
        return InvalidArgument("meta nfproto is 2 or 10, not {}",
                               match.value[0]);
      }
      matches_nfproto_ |= !match.negate;
      late_nfproto_ |= !match.negate && acts_;
    }
    if (match.mask) return CheckMasked(match);
    if (IsBits(match.field)) {
      if (!IsZero(match.value)) return absl::OkStatus();
      return InvalidArgument("{} without any bit", Name(match.field));
    }
    if (match.negate) return absl::OkStatus();
    RETURN_IF_ERROR(CheckAgreement(match));
    return CheckPorts(match.field);
  }

  // A family or protocol beside another one.
  absl::Status CheckAgreement(const Match& match) {
    if (match.field == Field::kL4proto && matches_transport_) {
      return InvalidArgument("meta l4proto {} after a match of several",
                             match.value[0]);
    }
    const RuleContext after = After(context_, match);
    const bool agrees =
        context_.family.value_or(after.family.value_or(Family::kIpv4)) ==
            after.family.value_or(Family::kIpv4) &&
        context_.protocol.value_or(after.protocol.value_or(0)) ==
            after.protocol.value_or(0);
    if (agrees) return absl::OkStatus();
    return InvalidArgument("{} {} contradicts an earlier match",
                           Name(match.field),
                           ValueText(match.field, match.value));
  }

  absl::Status CheckMasked(const Match& match) {
    const std::string_view name = Name(match.field);
    RETURN_IF_ERROR(
        CheckSize("a mask", match.mask->size(), match.value.size()));
    const bool address = FamilyOf(match.field) && !IsTransport(match.field);
    const bool mark =
        match.field == Field::kMark || match.field == Field::kCtMark;
    if (!address && !mark && !IsBits(match.field)) {
      return InvalidArgument("{} takes no mask", name);
    }
    for (size_t i = 0; i < match.value.size(); ++i) {
      if ((match.value[i] & ~(*match.mask)[i]) != 0) {
        return InvalidArgument("{} can never be {} under its mask", name,
                               ValueText(match.field, match.value));
      }
    }
    if (address || !IsZero(*match.mask)) return absl::OkStatus();
    return InvalidArgument("{} with an empty mask", name);
  }

  // nft -f joins both ports to one comparison: without a protocol it lists
  // that as raw bits, and else side by side, the source port first.
  absl::Status CheckPorts(Field field) {
    if (field == Field::kThSport) {
      if (matches_dport_) {
        return InvalidArgument("th sport must stand before th dport");
      }
      sport_at_ = position_;
    }
    if (field == Field::kThDport && sport_at_ &&
        (!context_.protocol || *sport_at_ + 1 != position_)) {
      return InvalidArgument(
          "th dport must follow th sport, both after a protocol");
    }
    matches_dport_ |= field == Field::kThDport;
    return absl::OkStatus();
  }

  absl::Status CheckOne(const MatchAnyOf& match) {
    matches_transport_ |= match.field == Field::kL4proto && !match.negate;
    if (match.values.empty()) {
      return InvalidArgument("{} of an empty set", Name(match.field));
    }
    if (match.field == Field::kNfproto) {
      return InvalidArgument("meta nfproto takes no set: both are everything");
    }
    for (const Bytes& value : match.values) {
      RETURN_IF_ERROR(
          CheckSize(Name(match.field), value.size(), SizeOf(match.field)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckOne(const MatchSet& match) {
    looks_up_protocol_ |=
        !match.negate && std::ranges::count(match.key, Field::kL4proto) > 0;
    return CheckKey(match.key, match.set);
  }
  absl::Status CheckOne(const MatchPathMtu& match) {
    if (match.below > 0) return absl::OkStatus();
    return InvalidArgument("no MTU is below 0");
  }
  absl::Status CheckOne(const VerdictMap& map) {
    return CheckKey(map.key, map.map);
  }
  absl::Status CheckOne(const SetCtMarkFromMap& map) {
    return CheckKey(map.key, map.map);
  }
  absl::Status CheckKey(const std::vector<Field>& key, const std::string& set) {
    if (key.empty()) return InvalidArgument("the key for @{} is empty", set);
    return CheckName(set);
  }

  absl::Status CheckOne(const SetCtMark& set) { return CheckKeep(set); }
  absl::Status CheckOne(const SetMark& set) { return CheckKeep(set); }
  template <typename Set>
  absl::Status CheckKeep(const Set& set) {
    if (set.keep != UINT32_MAX || set.value != 0) return absl::OkStatus();
    return InvalidArgument("a mark is set to itself");
  }

  absl::Status CheckOne(const NatTo& nat) {
    return CheckNat(nat.address.family(), nat.port.has_value(), {});
  }
  absl::Status CheckOne(const NatToMap& nat) {
    RETURN_IF_ERROR(CheckKey(nat.key, nat.map));
    return CheckNat(nat.family, nat.with_port, nat.key);
  }
  absl::Status CheckOne(const NatByHash& nat) {
    if (nat.key.empty()) return InvalidArgument("the key of jhash is empty");
    if (nat.slots.empty()) return InvalidArgument("jhash has no slots");
    const size_t address = nat.family == Family::kIpv4 ? 4 : 16;
    for (const Bytes& slot : nat.slots) {
      RETURN_IF_ERROR(
          CheckSize("a slot", slot.size(), address + (nat.with_port ? 4 : 0)));
    }
    return CheckNat(nat.family, nat.with_port, {});
  }
  absl::Status CheckNat(Family family, bool with_port,
                        const std::vector<Field>& key) {
    ended_ = true;
    const RuleContext context = context_;
    if (context.family.value_or(family) != family) {
      return InvalidArgument("translation after a match of the other family");
    }
    const bool transport = context.protocol || matches_transport_ ||
                           std::ranges::count(key, Field::kL4proto) > 0;
    if (!with_port || transport) return absl::OkStatus();
    return InvalidArgument("translation of a port needs a match of protocols");
  }

  absl::Status CheckOne(const Reject& reject) {
    ended_ = true;
    if (reject.kind == RejectKind::kPortUnreachable && late_nfproto_ &&
        !reads_address_) {  // nft -f puts the match in front itself
      return InvalidArgument("meta nfproto must stand first before a reject");
    }
    if (reject.kind != RejectKind::kTcpReset) return absl::OkStatus();
    if (context_.protocol.value_or(kTcp) != kTcp) {
      return InvalidArgument("a TCP reset after a match of protocol {}",
                             *context_.protocol);
    }
    if (!matches_nfproto_ || reads_address_) return absl::OkStatus();
    return InvalidArgument(
        "nft does not list the family of a TCP reset: match an address");
  }

  absl::Status CheckOne(const Masquerade&) {
    ended_ = true;
    return absl::OkStatus();
  }
  absl::Status CheckOne(const Verdict& verdict) {
    ended_ = true;
    return CheckVerdict(verdict);
  }
  absl::Status CheckOne(const ClampMss&) { return absl::OkStatus(); }
  absl::Status CheckOne(const Counter&) { return absl::OkStatus(); }
  // The kernel would take an object of UDP for TCP, and read beyond its end.
  absl::Status CheckOne(const SetCtTimeout& set) {
    const bool known = context_.protocol == kTcp || context_.protocol == kUdp;
    if (!known && !looks_up_protocol_) {
      return InvalidArgument("ct timeout {} needs a match of its protocol",
                             set.object);
    }
    return CheckName(set.object);
  }
  absl::Status CheckOne(const SetTrace&) { return absl::OkStatus(); }
  absl::Status CheckOne(const NoTrack&) { return absl::OkStatus(); }

  RuleContext context_;
  bool ended_ = false;
  bool acts_ = false;  // does something before its end
  bool matches_nfproto_ = false;
  bool late_nfproto_ = false;  // after it did something
  bool reads_address_ = false;
  bool matches_transport_ = false;  // `meta l4proto { ... }`
  bool looks_up_protocol_ = false;  // in a named set
  size_t position_ = 0;
  std::optional<size_t> sport_at_;  // a match of one source port
  bool matches_dport_ = false;
};

}  // namespace

absl::Status CheckName(std::string_view name) {
  if (name.empty()) return InvalidArgument("a name is empty");
  if (name.size() >= kNameLimit) {
    return InvalidArgument("name {}... is longer than {} characters",
                           name.substr(0, 32), kNameLimit - 1);
  }
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  const auto allowed = [letter](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  if (letter(name[0]) && std::ranges::all_of(name, allowed)) {
    return absl::OkStatus();
  }
  return InvalidArgument("\"{}\" is not a name that nft reads", name);
}

absl::Status CheckSet(const Set& set) {
  RETURN_IF_ERROR(CheckName(set.name));
  if (set.key.empty()) return InvalidArgument("set {} has no key", set.name);
  if (SizeOf(set.key) > kConcatenationLimit ||
      SizeOf(set.data) > kConcatenationLimit) {
    return InvalidArgument("set {} is wider than {} bytes", set.name,
                           kConcatenationLimit);
  }
  const bool verdict_key = std::ranges::count(set.key, Type::kVerdict) > 0;
  const bool verdict_data = std::ranges::count(set.data, Type::kVerdict) > 0;
  if (verdict_key || (verdict_data && set.data.size() > 1)) {
    return InvalidArgument("set {}: a verdict can only be the whole data",
                           set.name);
  }
  return absl::OkStatus();
}

absl::Status CheckElement(const Set& set, const Element& element) {
  const auto check = [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckSize("the key", element.key.size(), SizeOf(set.key)));
    RETURN_IF_ERROR(CheckRanges(set, element));
    const bool verdict_map = set.data == std::vector{Type::kVerdict};
    if (verdict_map != element.verdict.has_value()) {
      return InvalidArgument(
          "{}", verdict_map ? "the verdict is missing" : "it takes no verdict");
    }
    if (element.verdict) RETURN_IF_ERROR(CheckVerdict(*element.verdict));
    return CheckSize("the data", element.data.size(), SizeOf(set.data));
  };
  return Annotate(check(), fmt::format("an element of {}", set.name));
}

absl::Status CheckTimeout(const CtTimeout& timeout) {
  RETURN_IF_ERROR(CheckName(timeout.name));
  const auto states = TimeoutStates(timeout.protocol);
  bool listed = false;  // nft cannot load an object without any state again
  for (const auto& [state, seconds] : timeout.seconds) {
    const auto known = std::ranges::find(states, state, &TimeoutState::state);
    if (known == states.end()) {
      return InvalidArgument("ct timeout {}: {} has no state {}", timeout.name,
                             edged::ToString(timeout.protocol), state);
    }
    if (seconds == 0) {
      return InvalidArgument("ct timeout {}: {} is 0", timeout.name,
                             known->name);
    }
    listed |= seconds != known->seconds;
  }
  if (listed) return absl::OkStatus();
  return InvalidArgument("ct timeout {}: says what nft takes for granted",
                         timeout.name);
}

absl::Status CheckRule(const Rule& rule) {
  if (rule.statements.empty()) return InvalidArgument("the rule is empty");
  RuleCheck check;
  for (const Statement& statement : rule.statements) {
    RETURN_IF_ERROR(check.Check(statement));
  }
  return absl::OkStatus();
}

}  // namespace edged::nftables
