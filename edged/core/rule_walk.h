#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/net_types.h"
#include "common/nftables/program.h"

// What the rules of another program would do with a packet of ours, found by
// walking through them without sending one. Pure.

namespace edged::edge {

// A packet in the middle of its way through this host.
struct Probe {
  std::string in;   // interface; empty: none, it is made here
  std::string out;  // the same: it ends here, or is not routed yet
  uint32_t in_index = 0;
  uint32_t out_index = 0;
  // Unset: an ordinary one somewhere on the internet, that no rule names.
  std::optional<IpAddress> source;
  std::optional<IpAddress> destination;
  Family family = Family::kIpv4;
  Protocol protocol = Protocol::kUdp;
  std::optional<uint16_t> source_port;       // unset: some high one
  std::optional<uint16_t> destination_port;  // unset: not known
  bool established = false;                  // else it begins a connection
  bool untracked = false;     // it has no entry in the table of connections
  bool translated = false;    // of a connection that we translated
  bool to_this_host = false;  // its destination is local
};

// Where a rule stands, and what it says.
struct RulePlace {
  std::string chain;
  uint64_t handle = 0;   // 0: the chain's policy
  std::string text;      // "drop", "policy drop", `tcp dport 25 reject`
  bool refuses = false;  // it answers, instead of dropping in silence
  bool operator==(const RulePlace&) const = default;
};

struct WalkEnd {
  // What drops an ordinary packet; unset: it passes.
  std::optional<RulePlace> dropped_by;
  // Earlier rules let some sources pass, or depend on what is not known here
  // (a limit of a module, a set that others fill).
  std::optional<RulePlace> perhaps_accepted_by;
  // Passes, as far as can be told, but this one may drop it.
  std::optional<RulePlace> perhaps_dropped_by;
  // Passes by being sent to another address or port, or from another one.
  std::optional<RulePlace> translated_by;
  std::optional<RulePlace> perhaps_translated_by;
};

// Through one base chain and those that it jumps to. Rules that only concern
// some sources (a block list) count as not matching.
WalkEnd WalkBaseChain(const nftables::AnyTable& table,
                      const nftables::AnyChain& base, const Probe& probe);

}  // namespace edged::edge
