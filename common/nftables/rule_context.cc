#include "common/nftables/rule_context.h"

#include <type_traits>

#include "common/nftables/values.h"

namespace edged::nftables {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kIcmpv6 = 58;

std::optional<Family> FamilyOfNfproto(uint8_t nfproto) {
  if (nfproto == 2) return Family::kIpv4;
  if (nfproto == 10) return Family::kIpv6;
  return std::nullopt;
}

}  // namespace

RuleContext After(const RuleContext& before, const Statement& original) {
  RuleContext context = before;
  const Statement statement = Simplified(original);
  for (const Field field : FieldsOf(statement)) {
    if (const auto family = FamilyOf(field)) context.family = family;
    if (const auto protocol = ProtocolOf(field)) context.protocol = protocol;
  }
  const auto* reject = std::get_if<Reject>(&statement);
  if (reject != nullptr && reject->kind == RejectKind::kTcpReset) {
    context.protocol = kTcp;
  }
  const auto* match = std::get_if<Match>(&statement);
  if (match == nullptr || match->negate || match->mask ||
      match->value.empty()) {
    return context;
  }
  if (match->field == Field::kL4proto) context.protocol = match->value[0];
  if (match->field == Field::kNfproto) {
    if (const auto family = FamilyOfNfproto(match->value[0])) {
      context.family = family;
    }
  }
  return context;
}

Statement Simplified(const Statement& statement) {
  if (const auto* any = std::get_if<MatchAnyOf>(&statement)) {
    if (any->values.size() != 1) return statement;
    return Match{any->field, any->values[0], any->negate, std::nullopt};
  }
  const auto* match = std::get_if<Match>(&statement);
  if (match == nullptr || !match->mask || !IsAllOnes(*match->mask) ||
      match->mask->size() != match->value.size() || IsBits(match->field)) {
    return statement;
  }
  return Match{match->field, match->value, match->negate, std::nullopt};
}

std::optional<Family> FamilyOf(Field field) {
  switch (field) {
    case Field::kIpSaddr:
    case Field::kIpDaddr:
    case Field::kIcmpType:
      return Family::kIpv4;
    case Field::kIp6Saddr:
    case Field::kIp6Daddr:
    case Field::kIcmpv6Type:
      return Family::kIpv6;
    default:
      return std::nullopt;
  }
}

std::optional<uint8_t> ProtocolOf(Field field) {
  switch (field) {
    case Field::kTcpFlags:
      return kTcp;
    case Field::kIcmpType:
      return kIcmp;
    case Field::kIcmpv6Type:
      return kIcmpv6;
    default:
      return std::nullopt;
  }
}

bool IsTransport(Field field) {
  return field == Field::kThSport || field == Field::kThDport ||
         ProtocolOf(field).has_value();
}

std::vector<Field> FieldsOf(const Statement& statement) {
  return std::visit(
      [](const auto& part) -> std::vector<Field> {
        using Part = std::decay_t<decltype(part)>;
        if constexpr (requires { part.key; }) {
          return part.key;
        } else if constexpr (std::is_same_v<Part, MatchPathMtu>) {
          return {Field::kIcmpType};
        } else if constexpr (requires { part.field; }) {
          return {part.field};
        } else {
          return {};
        }
      },
      statement);
}

bool ActsOn(const Statement& statement) {
  return !std::holds_alternative<Match>(statement) &&
         !std::holds_alternative<MatchAnyOf>(statement) &&
         !std::holds_alternative<MatchSet>(statement) &&
         !std::holds_alternative<MatchPathMtu>(statement) &&
         !std::holds_alternative<VerdictMap>(statement);
}

}  // namespace edged::nftables
