#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/nftables/ruleset.h"

// Rules of any table, also of those that others made, as the kernel runs them:
// instructions that load words, compare them, and decide. What no instruction
// here can say is kept by name, so that a reader knows what it does not know.
// Pure data; read by program_codec.h, as text by program_text.h.

namespace edged::nftables {

// The kernel's registers: 16 words of 4 bytes. A value begins at a word.
inline constexpr size_t kWords = 16;
inline constexpr size_t kWordSize = 4;

enum class Header { kLink, kNetwork, kTransport };

struct LoadMeta {
  uint32_t key = 0;  // NFT_META_*
  uint32_t word = 0;
  bool operator==(const LoadMeta&) const = default;
};
struct LoadCt {
  uint32_t key = 0;                   // NFT_CT_*
  std::optional<uint8_t> of_reply{};  // keys that each direction has: of which
  uint32_t word = 0;
  bool operator==(const LoadCt&) const = default;
};
struct LoadPayload {
  Header header = Header::kNetwork;
  uint32_t offset = 0;
  uint32_t size = 0;  // bytes
  uint32_t word = 0;
  bool operator==(const LoadPayload&) const = default;
};
// What the routing table says of an address.
struct LoadFib {
  uint32_t result = 0;  // NFT_FIB_RESULT_*
  uint32_t flags = 0;   // NFTA_FIB_F_*
  uint32_t word = 0;
  bool operator==(const LoadFib&) const = default;
};
// By an expression that is only known by name; unset `word`: it may have
// written to any.
struct LoadUnknown {
  std::string name;
  std::optional<uint32_t> word{};
  bool operator==(const LoadUnknown&) const = default;
};
struct LoadConstant {
  Bytes value;
  uint32_t word = 0;
  bool operator==(const LoadConstant&) const = default;
};
// (value & mask) ^ flip
struct MaskBits {
  uint32_t from = 0;
  uint32_t to = 0;
  Bytes mask;
  Bytes flip;
  bool operator==(const MaskBits&) const = default;
};

enum class Comparison { kEqual, kNotEqual, kLess, kAtMost, kGreater, kAtLeast };

// Ends the rule unless the value compares so; numbers in network order.
struct Compare {
  Comparison comparison = Comparison::kEqual;
  Bytes value;
  uint32_t word = 0;
  bool operator==(const Compare&) const = default;
};
struct CompareRanges {  // in any of them, both ends included; negate: in none
  std::vector<std::pair<Bytes, Bytes>> ranges;
  bool negate = false;
  uint32_t word = 0;
  bool operator==(const CompareRanges&) const = default;
};
struct LookUp {
  std::string set;
  uint32_t word = 0;
  std::optional<uint32_t> to{};  // where a map's data goes
  bool verdict = false;          // the map's data is a verdict
  bool negate = false;
  bool operator==(const LookUp&) const = default;
};
// Ends the rule above the rate, or with `over` below it.
struct LimitRate {
  bool over = false;
  bool operator==(const LimitRate&) const = default;
};
// A condition that is only known by name: `xt match recent`.
struct UnknownMatch {
  std::string name;
  bool operator==(const UnknownMatch&) const = default;
};
// Drops the packet and answers.
struct Refuse {
  uint32_t type = 0;  // NFT_REJECT_*
  uint8_t code = 0;
  bool operator==(const Refuse&) const = default;
};
// dnat, snat, masq, redir: the packet passes the chain.
struct Translate {
  std::string name;
  bool operator==(const Translate&) const = default;
};
// Neither decides nor loads: a counter, a log entry, a mark that is set.
struct Act {
  std::string name;
  bool operator==(const Act&) const = default;
};
// Ends the rule's chain in a way that is only known by name: `queue`.
struct UnknownVerdict {
  std::string name;
  bool operator==(const UnknownVerdict&) const = default;
};

using Instruction =
    std::variant<LoadMeta, LoadCt, LoadPayload, LoadFib, LoadUnknown,
                 LoadConstant, MaskBits, Compare, CompareRanges, LookUp,
                 LimitRate, UnknownMatch, Refuse, Translate, Act, Verdict,
                 UnknownVerdict>;
using Program = std::vector<Instruction>;

// One rule, chain, set and table of any kind, as the kernel lists them.
struct AnyRule {
  uint64_t handle = 0;
  Program program;
  bool operator==(const AnyRule&) const = default;
};

struct AnyHook {
  std::string type;     // "filter", "nat", "route"
  uint32_t number = 0;  // NF_INET_*; in family netdev NF_NETDEV_*
  int32_t priority = 0;
  std::vector<std::string> devices;  // of family netdev
  bool operator==(const AnyHook&) const = default;
};

struct AnyChain {
  std::string name;
  std::optional<AnyHook> hook;
  bool drops_by_policy = false;
  std::vector<AnyRule> rules;
  bool operator==(const AnyChain&) const = default;
};

struct AnySet {
  std::string name;
  uint32_t flags = 0;             // NFT_SET_*
  std::vector<uint32_t> parts;    // sizes, of a concatenation that takes ranges
  std::vector<Element> elements;  // ranges joined
  std::optional<Element> rest;    // `*`: the element for every other key
  bool complete = true;  // false: its elements were left out or are not known
  bool anonymous() const;
  bool operator==(const AnySet&) const = default;
};

struct AnyTable {
  uint8_t family = 0;  // NFPROTO_*
  std::string name;
  bool dormant = false;
  std::map<std::string, AnyChain> chains;
  std::map<std::string, AnySet> sets;

  std::string ToString() const;  // "table ip filter"
  bool operator==(const AnyTable&) const = default;
};

// "ip", "ip6", "inet", "arp", "bridge", "netdev".
std::string FamilyName(uint8_t nfproto);

}  // namespace edged::nftables
