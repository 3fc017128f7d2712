#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/netlink/message.h"
#include "common/netlink/socket.h"
#include "common/nftables/ruleset.h"

// What the rules do with packets that a rule has marked by `meta nftrace set 1`
// (netlink group NFNLGRP_NFTRACE; NFTA_TRACE_* in include/uapi/linux/netfilter/
// nf_tables.h).

namespace edged::nftables {

// A packet as it was when a base chain began; the kernel tells it once for each
// base chain, with the chain's first event.
struct TracedPacket {
  uint32_t in = 0;   // interface index; 0: none
  uint32_t out = 0;  // the same
  IpAddress source;
  IpAddress destination;
  uint8_t protocol = 0;           // IPPROTO_*
  uint16_t source_port = 0;       // TCP and UDP, else 0
  uint16_t destination_port = 0;  // the same
  uint8_t tcp_flags = 0;
  uint8_t icmp_type = 0;  // ICMP and ICMPv6
  uint8_t icmp_code = 0;
  bool operator==(const TracedPacket&) const = default;
};

enum class TraceStep {
  kRule,    // a rule matched and did something
  kReturn,  // a chain that was jumped to came to its end
  kPolicy,  // a base chain came to its end: its policy decides
};

enum class TraceVerdict { kContinue, kAccept, kDrop, kReturn, kJump, kOther };

struct TraceEvent {
  // Of the packet, while it goes through this host's rules; later packets may
  // have the same.
  uint32_t id = 0;
  uint8_t family = 0;  // NFPROTO_* of the table
  std::string table;
  std::string chain;
  TraceStep step = TraceStep::kRule;
  TraceVerdict verdict = TraceVerdict::kContinue;
  std::string target;        // chain of a jump or goto
  uint64_t rule_handle = 0;  // kRule
  std::optional<TracedPacket> packet;
  bool operator==(const TraceEvent&) const = default;
};

// Reads an NFT_MSG_TRACE. InvalidArgument when it is malformed; a packet that
// is neither IPv4 nor IPv6, or is cut short, is left out.
absl::StatusOr<TraceEvent> ReadTraceEvent(const netlink::MessageView& message);

// One socket that hears of every traced packet in this network namespace. Not
// thread-safe.
class TraceEvents {
 public:
  static absl::StatusOr<TraceEvents> Open();

  int fd() const { return socket_.fd(); }  // readable when there are events

  // Hands over what is waiting, without waiting. Unavailable when the kernel
  // had to drop some: later ones still come.
  absl::Status Read(const std::function<void(const TraceEvent&)>& consume);

 private:
  explicit TraceEvents(netlink::Socket socket) : socket_(std::move(socket)) {}

  netlink::Socket socket_;
};

}  // namespace edged::nftables
