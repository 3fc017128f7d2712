#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/nftables/ruleset.h"

// Walks a packet through a typed table, so that a test can ask where it ends
// instead of which rules are there.

namespace edged::nftables {

struct Packet {
  std::string iif;  // empty: made on this host
  std::string oif;  // empty: for this host
  IpAddress source;
  IpAddress destination;
  uint8_t protocol = 6;      // IANA number
  uint16_t source_port = 0;  // TCP and UDP
  uint16_t destination_port = 0;
  uint8_t tcp_flags = kTcpSyn;
  uint8_t icmp_type = 8;
  uint8_t icmp_code = 0;
  uint16_t icmp_mtu = 0;
  uint32_t ct_state = kCtNew;
  uint32_t ct_status = 0;
  uint8_t ct_direction = kCtOriginal;
  uint32_t ct_mark = 0;
  uint32_t mark = 0;
  std::optional<uint32_t> user;  // of the socket that it was sent by, if any
  bool operator==(const Packet&) const = default;
};

struct Walk {
  // What was done to it, in order: "ct mark 0xed000100",
  // "dnat to 10.200.0.17", "masquerade", "mark 0x00000001", "clamp mss".
  std::vector<std::string> steps;
  std::string end;  // "accept", "drop", "reject with tcp reset", ...
  Packet packet;    // as it leaves

  // "dnat to 10.200.0.17, accept"
  std::string ToString() const;
};

// All base chains of one hook, by priority. As in the kernel:
//   - an accept ends its base chain only; a drop and a reject are final;
//   - NAT chains see packets of new connections only, and of those no further
//     one after a translation; the status bits snat and dnat are kept;
//   - before routing (prerouting, input) a packet has no oif, in output no iif;
//   - a field that the packet does not have ends the rule, negated or not.
// Ports of protocols other than TCP and UDP count as such fields. A masquerade
// leaves the source as it is. jhash is not computed: `hash` stands for its
// value before the modulus, so hash 0 is slot 0.
// A set or chain that is not in the table ends the walk: "no set NAME".
Walk WalkHook(const Table& table, HookPoint hook, const Packet& packet,
              uint32_t hash = 0);

// Several hooks in turn, until it is dropped: "prerouting: dnat to 10.200.0.17,
// accept; forward: accept". Routing stays as `packet` says.
std::string WalkHooks(const Table& table, const std::vector<HookPoint>& hooks,
                      Packet packet, uint32_t hash = 0);

}  // namespace edged::nftables
