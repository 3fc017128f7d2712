#include "common/nftables/ruleset.h"

#include <algorithm>
#include <cstring>

#include "common/status.h"

namespace edged::nftables {
namespace {

// NFT_NAME_MAXLEN and IFNAMSIZ, both with the final zero.
constexpr size_t kNameLimit = 256;
constexpr size_t kIfnameSize = 16;

// nft keeps at most this many bytes of a concatenation (NFT_REG32_COUNT × 4).
constexpr size_t kConcatenationLimit = 64;

constexpr size_t Padded(size_t size) { return (size + 3) / 4 * 4; }

template <typename T>
size_t SizeOfParts(const std::vector<T>& parts) {
  if (parts.size() == 1) return SizeOf(parts[0]);
  size_t size = 0;
  for (const T& part : parts) size += Padded(SizeOf(part));
  return size;
}

absl::Status CheckSize(std::string_view what, size_t size, size_t wanted) {
  if (size == wanted) return absl::OkStatus();
  return InvalidArgument("{} has {} bytes, not {}", what, size, wanted);
}

absl::Status CheckKey(const std::vector<Field>& key, const std::string& set) {
  if (key.empty()) return InvalidArgument("the key for @{} is empty", set);
  return CheckName(set);
}

size_t NatDataSize(Family family, bool with_port) {
  const size_t address = family == Family::kIpv4 ? 4 : 16;
  return with_port ? address + 4 : address;
}

absl::Status Check(const Match& match) {
  const size_t size = SizeOf(match.field);
  RETURN_IF_ERROR(CheckSize("a value to match", match.value.size(), size));
  if (match.mask) {
    RETURN_IF_ERROR(CheckSize("a mask", match.mask->size(), size));
  }
  return absl::OkStatus();
}

absl::Status Check(const MatchAnyOf& match) {
  if (match.values.empty()) return InvalidArgument("a set to match is empty");
  for (const Bytes& value : match.values) {
    RETURN_IF_ERROR(
        CheckSize("a value to match", value.size(), SizeOf(match.field)));
  }
  return absl::OkStatus();
}

absl::Status Check(const MatchSet& match) {
  return CheckKey(match.key, match.set);
}
absl::Status Check(const VerdictMap& map) { return CheckKey(map.key, map.map); }
absl::Status Check(const SetCtMarkFromMap& map) {
  return CheckKey(map.key, map.map);
}
absl::Status Check(const NatToMap& map) { return CheckKey(map.key, map.map); }

absl::Status Check(const NatByHash& nat) {
  if (nat.key.empty()) return InvalidArgument("the key of jhash is empty");
  if (nat.slots.empty()) return InvalidArgument("jhash has no slots");
  const size_t size = NatDataSize(nat.family, nat.with_port);
  for (const Bytes& slot : nat.slots) {
    RETURN_IF_ERROR(CheckSize("a slot", slot.size(), size));
  }
  return absl::OkStatus();
}

absl::Status Check(const Verdict& verdict) {
  const bool to_chain =
      verdict.kind == VerdictKind::kJump || verdict.kind == VerdictKind::kGoto;
  if (to_chain) return CheckName(verdict.chain);
  if (verdict.chain.empty()) return absl::OkStatus();
  return InvalidArgument("a verdict that does not jump names chain {}",
                         verdict.chain);
}

template <typename Statement>
absl::Status Check(const Statement&) {  // those that cannot be wrong
  return absl::OkStatus();
}

}  // namespace

Bytes ToBytes(const IpAddress& address) {
  const auto bytes = address.bytes();
  return Bytes(bytes.begin(), bytes.end());
}

Bytes ToBytes(Protocol protocol) { return {static_cast<uint8_t>(protocol)}; }

Bytes PortBytes(uint16_t port) {
  return {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)};
}

Bytes MarkBytes(uint32_t mark) {
  Bytes bytes(sizeof mark);
  std::memcpy(bytes.data(), &mark, sizeof mark);
  return bytes;
}

Bytes NameBytes(std::string_view name) {
  Bytes bytes(kIfnameSize);
  std::copy_n(name.begin(), std::min(name.size(), kIfnameSize - 1),
              bytes.begin());
  return bytes;
}

Bytes Concat(std::initializer_list<Bytes> parts) {
  Bytes whole;
  for (const Bytes& part : parts) {
    whole.insert(whole.end(), part.begin(), part.end());
    whole.resize(Padded(whole.size()));
  }
  return whole;
}

size_t SizeOf(Type type) {
  switch (type) {
    case Type::kIpv4Addr:
    case Type::kMark:
      return 4;
    case Type::kIpv6Addr:
      return 16;
    case Type::kInetProto:
      return 1;
    case Type::kInetService:
      return 2;
    case Type::kIfname:
      return kIfnameSize;
    case Type::kVerdict:
      return 0;
  }
  return 0;
}

size_t SizeOf(Field field) {
  switch (field) {
    case Field::kIifname:
    case Field::kOifname:
      return kIfnameSize;
    case Field::kNfproto:
    case Field::kL4proto:
    case Field::kTcpFlags:
    case Field::kIcmpType:
    case Field::kIcmpv6Type:
      return 1;
    case Field::kThSport:
    case Field::kThDport:
      return 2;
    case Field::kMark:
    case Field::kIpSaddr:
    case Field::kIpDaddr:
    case Field::kCtState:
    case Field::kCtStatus:
    case Field::kCtMark:
      return 4;
    case Field::kIp6Saddr:
    case Field::kIp6Daddr:
      return 16;
  }
  return 0;
}

size_t SizeOf(const std::vector<Type>& types) { return SizeOfParts(types); }

size_t SizeOf(const std::vector<Field>& fields) { return SizeOfParts(fields); }

absl::Status CheckName(std::string_view name) {
  if (name.empty()) return InvalidArgument("a name is empty");
  if (name.size() >= kNameLimit) {
    return InvalidArgument("name {}... is longer than {} characters",
                           name.substr(0, 32), kNameLimit - 1);
  }
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  };
  const bool starts_with_letter = allowed(name[0]) && name[0] > '9';
  if (!starts_with_letter || !std::ranges::all_of(name, allowed)) {
    return InvalidArgument("\"{}\" is not a name that nft reads", name);
  }
  return absl::OkStatus();
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
    const size_t key_size = SizeOf(set.key);
    RETURN_IF_ERROR(CheckSize("the key", element.key.size(), key_size));
    if (!element.key_end.empty()) {
      if (!set.interval) return InvalidArgument("it takes no ranges");
      RETURN_IF_ERROR(
          CheckSize("the end of the range", element.key_end.size(), key_size));
      if (element.key_end < element.key) {
        return InvalidArgument("the range ends before it begins");
      }
    }
    const bool verdict_map = set.data == std::vector{Type::kVerdict};
    if (verdict_map != element.verdict.has_value()) {
      return InvalidArgument(
          "{}", verdict_map ? "the verdict is missing" : "it takes no verdict");
    }
    if (element.verdict) RETURN_IF_ERROR(Check(*element.verdict));
    return CheckSize("the data", element.data.size(), SizeOf(set.data));
  };
  return Annotate(check(), fmt::format("an element of {}", set.name));
}

absl::Status CheckRule(const Rule& rule) {
  if (rule.statements.empty()) return InvalidArgument("the rule is empty");
  for (const Statement& statement : rule.statements) {
    RETURN_IF_ERROR(
        std::visit([](const auto& part) { return Check(part); }, statement));
  }
  return absl::OkStatus();
}

}  // namespace edged::nftables
