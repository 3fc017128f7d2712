#include "common/nftables/trace.h"

#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <chrono>
#include <span>

#include "common/netlink/kernel_error.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;
using netlink::MessageView;

constexpr int kDatagramsPerRead = 1024;
constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmpv6 = 58;
// Least sizes of headers, and where fields lie in them.
constexpr size_t kIpv4Size = 20, kIpv6Size = 40, kPortsSize = 4;
constexpr size_t kTcpFlagsOffset = 13;

TraceVerdict VerdictOf(uint32_t code) {
  switch (static_cast<int32_t>(code)) {
    case NFT_CONTINUE:
      return TraceVerdict::kContinue;
    case NF_ACCEPT:
      return TraceVerdict::kAccept;
    case NF_DROP:
      return TraceVerdict::kDrop;
    case NFT_RETURN:
      return TraceVerdict::kReturn;
    case NFT_JUMP:
    case NFT_GOTO:
      return TraceVerdict::kJump;
    default:
      return TraceVerdict::kOther;
  }
}

// The parts of a packet as they arrive in one message.
struct Headers {
  std::span<const uint8_t> network;
  std::span<const uint8_t> transport;
  uint32_t in = 0;
  uint32_t out = 0;
};

uint16_t PortAt(std::span<const uint8_t> bytes, size_t offset) {
  return static_cast<uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

void ReadTransport(std::span<const uint8_t> bytes, TracedPacket& packet) {
  const bool has_ports = packet.protocol == kTcp || packet.protocol == kUdp;
  if (has_ports && bytes.size() >= kPortsSize) {
    packet.source_port = PortAt(bytes, 0);
    packet.destination_port = PortAt(bytes, 2);
  }
  if (packet.protocol == kTcp && bytes.size() > kTcpFlagsOffset) {
    packet.tcp_flags = bytes[kTcpFlagsOffset];
  }
  const bool icmp = packet.protocol == kIcmp || packet.protocol == kIcmpv6;
  if (icmp && bytes.size() >= 2) {
    packet.icmp_type = bytes[0];
    packet.icmp_code = bytes[1];
  }
}

std::optional<TracedPacket> PacketOf(const Headers& headers) {
  TracedPacket packet{.in = headers.in, .out = headers.out};
  const auto network = headers.network;
  if (network.empty()) return std::nullopt;
  const auto address = [&](size_t offset, size_t size) {
    return IpAddress::FromBytes(network.subspan(offset, size));
  };
  const int version = network[0] >> 4;
  if (version == 4 && network.size() >= kIpv4Size) {
    packet.protocol = network[9];
    packet.source = address(12, 4);
    packet.destination = address(16, 4);
  } else if (version == 6 && network.size() >= kIpv6Size) {
    packet.protocol = network[6];
    packet.source = address(8, 16);
    packet.destination = address(24, 16);
  } else {
    return std::nullopt;
  }
  ReadTransport(headers.transport, packet);
  return packet;
}

absl::Status ReadVerdictInto(const Attribute& nest, TraceEvent& event) {
  return netlink::ForEachAttribute(
      nest.payload, [&event](const Attribute& part) -> absl::Status {
        if (part.type == NFTA_VERDICT_CODE) {
          ASSIGN_OR_RETURN(const uint32_t code, part.Be32());
          event.verdict = VerdictOf(code);
        }
        if (part.type == NFTA_VERDICT_CHAIN) event.target = part.String();
        return absl::OkStatus();
      });
}

absl::Status ReadPart(const Attribute& part, TraceEvent& event,
                      Headers& headers) {
  switch (part.type) {
    case NFTA_TRACE_TABLE:
      event.table = part.String();
      break;
    case NFTA_TRACE_CHAIN:
      event.chain = part.String();
      break;
    case NFTA_TRACE_RULE_HANDLE: {
      ASSIGN_OR_RETURN(const uint64_t handle, part.U64());
      event.rule_handle = be64toh(handle);
      break;
    }
    case NFTA_TRACE_TYPE: {
      ASSIGN_OR_RETURN(const uint32_t type, part.Be32());
      event.step = type == NFT_TRACETYPE_POLICY   ? TraceStep::kPolicy
                   : type == NFT_TRACETYPE_RETURN ? TraceStep::kReturn
                                                  : TraceStep::kRule;
      break;
    }
    case NFTA_TRACE_VERDICT:
      return ReadVerdictInto(part, event);
    case NFTA_TRACE_POLICY: {
      ASSIGN_OR_RETURN(const uint32_t policy, part.Be32());
      event.verdict = VerdictOf(policy);
      break;
    }
    case NFTA_TRACE_ID: {
      ASSIGN_OR_RETURN(event.id, part.Be32());
      break;
    }
    case NFTA_TRACE_IIF: {
      ASSIGN_OR_RETURN(headers.in, part.Be32());
      break;
    }
    case NFTA_TRACE_OIF: {
      ASSIGN_OR_RETURN(headers.out, part.Be32());
      break;
    }
    case NFTA_TRACE_NETWORK_HEADER:
      headers.network = part.payload;
      break;
    case NFTA_TRACE_TRANSPORT_HEADER:
      headers.transport = part.payload;
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TraceEvent> ReadTraceEvent(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<nfgenmsg>());
  TraceEvent event{.family = header.nfgen_family};
  Headers headers;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const Attribute& part) { return ReadPart(part, event, headers); }));
  event.packet = PacketOf(headers);
  return event;
}

absl::StatusOr<TraceEvents> TraceEvents::Open() {
  ASSIGN_OR_RETURN(netlink::Socket socket,
                   netlink::Socket::Open(NETLINK_NETFILTER));
  RETURN_IF_ERROR(Annotate(socket.Join(NFNLGRP_NFTRACE), "nf_tables trace"));
  return TraceEvents(std::move(socket));
}

absl::Status TraceEvents::Read(
    const std::function<void(const TraceEvent&)>& consume) {
  const auto take = [&](const MessageView& message) -> absl::Status {
    if (message.type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE)) {
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const TraceEvent event, ReadTraceEvent(message));
    consume(event);
    return absl::OkStatus();
  };
  for (int i = 0; i < kDatagramsPerRead; ++i) {
    const absl::Status status =
        socket_.Receive(std::chrono::milliseconds(0), take);
    if (status.ok()) continue;
    const auto error = netlink::KernelErrorOf(status);
    const bool lost = error && error->error == ENOBUFS;
    if (absl::IsUnavailable(status) && !lost) return absl::OkStatus();
    return Annotate(status, "nf_tables trace");
  }
  return absl::OkStatus();
}

}  // namespace edged::nftables
