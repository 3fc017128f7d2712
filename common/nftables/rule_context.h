#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/nftables/ruleset.h"

// What the statements of a rule up to some point have fixed about its packets,
// as nft tracks it: it decides how later statements are written (`tcp dport`
// after `meta l4proto tcp`), which of them need a match of their own in front
// (`ip saddr` alone also matches the family), and what may follow at all.

namespace edged::nftables {

struct RuleContext {
  std::optional<Family> family;
  std::optional<uint8_t> protocol;  // IANA number
  bool operator==(const RuleContext&) const = default;
};

RuleContext After(const RuleContext& before, const Statement& statement);

// nft loads an anonymous set of one value, and a mask of all bits, as a plain
// comparison; so do we.
Statement Simplified(const Statement& statement);

// What a field can be read from only; nothing for those that every packet has.
std::optional<Family> FamilyOf(Field field);
std::optional<uint8_t> ProtocolOf(Field field);
bool IsTransport(Field field);  // in the TCP, UDP or ICMP header

// The fields that a statement reads, in order.
std::vector<Field> FieldsOf(const Statement& statement);
// Whether it does something to the packet, its connection or a counter: not
// matches, and not verdict maps, which nft takes for matches here.
bool ActsOn(const Statement& statement);

}  // namespace edged::nftables
