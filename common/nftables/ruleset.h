#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "common/net_types.h"

// Typed objects of one nf_tables table of family inet: what the nft language
// can say and `nft list` prints, nothing more. Printed by print.h, sent to the
// kernel by client.h.

namespace edged::nftables {

// Register bytes as the kernel keeps them: addresses and ports in network
// order, marks in host order; a concatenation pads each part to 4 bytes.
using Bytes = absl::InlinedVector<uint8_t, 24>;

enum class Type {  // nft's names for data types
  kIpv4Addr,
  kIpv6Addr,
  kInetProto,
  kInetService,
  kMark,
  kIfname,
  kVerdict,  // map data only
};

// What a rule can look at.
enum class Field {
  kIifname,  // meta iifname
  kOifname,  // meta oifname
  kNfproto,  // meta nfproto: 2 = ipv4, 10 = ipv6
  kL4proto,  // meta l4proto
  kMark,     // meta mark
  kSkuid,    // meta skuid: of the socket that sends; matches local ones only
  kIpSaddr,  // ip saddr; matches IPv4 only
  kIpDaddr,
  kIp6Saddr,  // ip6 saddr; matches IPv6 only
  kIp6Daddr,
  kThSport,  // th sport: TCP or UDP
  kThDport,
  kTcpFlags,  // tcp flags; matches TCP only
  kIcmpType,  // icmp type; matches ICMP only
  kIcmpv6Type,
  kCtState,   // bits of CtState
  kCtStatus,  // bits of CtStatus
  kCtMark,
  kCtDirection,  // 0 = original, 1 = reply; of an ICMP error: its own
};

// Bits as in `ct state` and `ct status` (NF_CT_STATE_BIT, IPS_*).
inline constexpr uint32_t kCtInvalid = 1, kCtEstablished = 2, kCtRelated = 4,
                          kCtNew = 8, kCtUntracked = 64;
inline constexpr uint32_t kCtStatusAssured = 4, kCtStatusSnat = 16,
                          kCtStatusDnat = 32;
inline constexpr uint8_t kCtOriginal = 0, kCtReply = 1;
inline constexpr uint8_t kTcpSyn = 2;

enum class VerdictKind { kAccept, kDrop, kReturn, kJump, kGoto };

struct Verdict {
  VerdictKind kind = VerdictKind::kAccept;
  std::string chain;  // jump and goto only
  bool operator==(const Verdict&) const = default;
};

// `FIELD [== | !=] value`. With a mask: `FIELD & mask [== | !=] value`. For the
// bit fields (ct state, ct status, tcp flags without a mask) it means: any of
// these bits is set, or with `negate` none.
struct Match {
  Field field;
  Bytes value;
  bool negate = false;
  std::optional<Bytes> mask;
  bool operator==(const Match&) const = default;
};

// `FIELD { a, b }` in an anonymous set.
struct MatchAnyOf {
  Field field;
  std::vector<Bytes> values;  // sorted
  bool negate = false;
  bool operator==(const MatchAnyOf&) const = default;
};

// `KEY @set`; `KEY` is a concatenation of fields.
struct MatchSet {
  std::vector<Field> key;
  std::string set;
  bool negate = false;
  bool operator==(const MatchSet&) const = default;
};

// `icmp code frag-needed icmp mtu < BELOW`: an error of IPv4's ICMP which says
// that no packet of that many bytes comes through.
struct MatchPathMtu {
  uint16_t below = 0;
  bool operator==(const MatchPathMtu&) const = default;
};

// `KEY vmap @map`.
struct VerdictMap {
  std::vector<Field> key;
  std::string map;
  bool operator==(const VerdictMap&) const = default;
};

// `ct mark set VALUE`, or with keep ≠ 0 `ct mark set ct mark & keep ^ value`.
struct SetCtMark {
  uint32_t value = 0;
  uint32_t keep = 0;  // mask of the bits that stay
  bool operator==(const SetCtMark&) const = default;
};

// `meta mark set VALUE`, or `meta mark set meta mark & keep ^ value`.
struct SetMark {
  uint32_t value = 0;
  uint32_t keep = 0;
  bool operator==(const SetMark&) const = default;
};

// `ct mark set KEY map @map`: a miss ends the rule.
struct SetCtMarkFromMap {
  std::vector<Field> key;
  std::string map;
  bool operator==(const SetCtMarkFromMap&) const = default;
};

enum class NatKind { kDnat, kSnat };

// `dnat ip to ADDRESS[:PORT]`.
struct NatTo {
  NatKind kind = NatKind::kDnat;
  IpAddress address;
  std::optional<uint16_t> port;
  bool operator==(const NatTo&) const = default;
};

// `dnat ip to KEY map @map`; the map's data is an address, or with
// `with_port` address . port.
struct NatToMap {
  NatKind kind = NatKind::kDnat;
  Family family = Family::kIpv4;
  std::vector<Field> key;
  std::string map;
  bool with_port = false;
  bool operator==(const NatToMap&) const = default;
};

// `dnat ip to jhash KEY mod SLOTS seed SEED map { 0 : a, 1 : b, ... }`: slot i
// goes to slots[i], an address or with `with_port` address . port.
struct NatByHash {
  Family family = Family::kIpv4;
  std::vector<Field> key;
  uint32_t seed = 0;
  std::vector<Bytes> slots;
  bool with_port = false;
  bool operator==(const NatByHash&) const = default;
};

struct Masquerade {
  bool operator==(const Masquerade&) const = default;
};

enum class RejectKind {
  kTcpReset,         // `reject with tcp reset`
  kPortUnreachable,  // `reject`: icmpx port-unreachable
  kHostUnreachable,  // `reject with icmpx host-unreachable`
  kAdminProhibited,
};

struct Reject {
  RejectKind kind = RejectKind::kPortUnreachable;
  bool operator==(const Reject&) const = default;
};

// `tcp option maxseg size set rt mtu`.
struct ClampMss {
  bool operator==(const ClampMss&) const = default;
};

struct Counter {
  bool operator==(const Counter&) const = default;
};

// `ct timeout set "OBJECT"`: a connection's idle times, from its first packet
// on. The kernel does not compare the object's protocol with the packet's: the
// rule must match it.
struct SetCtTimeout {
  std::string object;
  bool operator==(const SetCtTimeout&) const = default;
};

// `meta nftrace set 1`: the kernel tells what becomes of the packet (trace.h).
struct SetTrace {
  bool operator==(const SetTrace&) const = default;
};

// `notrack`: the packet goes on without an entry in the kernel's table of
// connections, where the chain comes before the look into it (-200).
struct NoTrack {
  bool operator==(const NoTrack&) const = default;
};

using Statement =
    std::variant<Match, MatchAnyOf, MatchSet, MatchPathMtu, VerdictMap,
                 SetCtMark, SetMark, SetCtMarkFromMap, NatTo, NatToMap,
                 NatByHash, Masquerade, Reject, ClampMss, Counter, SetCtTimeout,
                 SetTrace, NoTrack, Verdict>;

struct Rule {
  std::vector<Statement> statements;
  bool operator==(const Rule&) const = default;
};

enum class ChainType { kFilter, kNat, kRoute };
enum class HookPoint { kPrerouting, kInput, kForward, kOutput, kPostrouting };

struct Hook {
  ChainType type = ChainType::kFilter;
  HookPoint point = HookPoint::kForward;
  int priority = 0;
  bool operator==(const Hook&) const = default;
};

struct Chain {
  std::string name;
  std::optional<Hook> hook;  // a base chain; its policy is always accept
  std::vector<Rule> rules;
  bool operator==(const Chain&) const = default;
};

// A named set, or with `data` a named map.
struct Set {
  std::string name;
  std::vector<Type> key;
  std::vector<Type> data;  // empty: a set; {kVerdict}: a verdict map
  bool interval = false;   // elements may be ranges
  bool counter = false;    // each element counts packets and bytes
  bool operator==(const Set&) const = default;
};

struct Element {
  Bytes key;
  Bytes key_end;  // last key of a range, both included; empty: one key
  Bytes data;     // maps; empty for sets and verdict maps
  std::optional<Verdict> verdict;  // verdict maps
  // As listed from a set that counts. Elements that differ in nothing else are
  // equal.
  uint64_t packets = 0;

  bool operator==(const Element& other) const {
    return key == other.key && key_end == other.key_end && data == other.data &&
           verdict == other.verdict;
  }
};

struct SetWithElements {
  Set set;
  std::vector<Element> elements;  // sorted by key
  bool operator==(const SetWithElements&) const = default;
};

// States of connections as the kernel numbers them (CTA_TIMEOUT_TCP_*, _UDP_*).
inline constexpr uint16_t kTcpSynSent = 1, kTcpSynRecv = 2, kTcpEstablished = 3,
                          kTcpSynSent2 = 9;
inline constexpr uint16_t kUdpUnreplied = 1, kUdpReplied = 2;

// `ct timeout NAME { protocol tcp; l3proto inet; policy = { ... }; }`: how long
// connections of both families are kept while they are idle, by state. The
// kernel takes a state that is left out from the host's settings when the
// object is made, and lists all. An object cannot be changed.
struct CtTimeout {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  std::map<uint16_t, uint32_t> seconds;
  bool operator==(const CtTimeout&) const = default;

  // Whether `listed` has everything that this object names.
  bool IsMetBy(const CtTimeout& listed) const;
};

// A whole table as it should be. Sets and chains are in the order in which
// they are made; rules may name any of them.
struct Table {
  std::string name;  // family inet
  std::vector<SetWithElements> sets;
  std::vector<Chain> chains;
  std::vector<CtTimeout> timeouts = {};  // each name once
  bool operator==(const Table&) const = default;
};

// The object "tcp-3600": connections that are idle for this long are forgotten,
// a UDP session from its first packet on. From 1 s.
CtTimeout IdleTimeout(Protocol protocol, uint32_t seconds);

// Builders of register bytes.
Bytes ToBytes(const IpAddress& address);
Bytes ToBytes(Protocol protocol);        // one byte
Bytes PortBytes(uint16_t port);          // two bytes, network order
Bytes MarkBytes(uint32_t mark);          // four bytes, host order
Bytes NameBytes(std::string_view name);  // an interface name, 16 bytes
// A concatenation: every part padded to a multiple of 4 bytes.
Bytes Concat(std::initializer_list<Bytes> parts);

// Bytes that a value takes in a register: one alone is not padded, the parts of
// a concatenation are. A verdict takes none here: Element keeps it apart.
size_t SizeOf(Type type);
size_t SizeOf(Field field);
size_t SizeOf(const std::vector<Type>& types);
size_t SizeOf(const std::vector<Field>& fields);

}  // namespace edged::nftables
