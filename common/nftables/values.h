#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "common/nftables/ruleset.h"

// Names of types and fields, and the text of their values as nft 1.0.6 lists
// them.

namespace edged::nftables {

std::string_view Name(Type type);    // "ipv4_addr"
std::string_view Name(Field field);  // "ip saddr"

// The text of one value of the right size: "192.0.2.1", "tcp", "0x00000001".
std::string ValueText(Type type, const uint8_t* value);
std::string ValueText(Field field, const Bytes& value);
// Bits in a row: "established,related".
std::string BitsText(Field field, const Bytes& value);
// Values first to last, both included: "80", "80-90", "10.0.0.0/8".
std::string RangeText(Type type, const uint8_t* first, const uint8_t* last);

// A key or data of `types`: "192.0.2.1 . tcp . 80-90". `last` may be empty.
std::string ConcatenationText(const std::vector<Type>& types,
                              const Bytes& first, const Bytes& last);

// Fields whose values are sets of named bits.
bool IsBits(Field field);
// Kept in the byte order of the host, all others in network order. nft sorts
// and counts in that order.
bool IsHostOrder(Type type);
bool IsHostOrder(Field field);

bool IsZero(const Bytes& value);
bool IsAllOnes(const Bytes& value);
// How many bits lead if `mask` is a prefix of FIELD's values, else -1.
int PrefixLength(Field field, const Bytes& mask);
// The mask of a network: as many bits as its prefix is long, then zeros.
Bytes MaskOf(const IpPrefix& prefix);

// nft's names for the states of a `ct timeout` object, and the seconds that it
// takes for granted: `nft list` leaves out a state that has these.
struct TimeoutState {
  uint16_t state;
  std::string_view name;
  uint32_t seconds;
};
std::span<const TimeoutState> TimeoutStates(Protocol protocol);

}  // namespace edged::nftables
