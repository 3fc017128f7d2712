#include "common/netlink/conntrack_codec.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/status.h"

namespace edged::netlink {
namespace {

struct Tuple {
  FlowTuple ends;
  uint8_t protocol = 0;
};

// Which parts of a tuple a filter compares: net/netfilter/nf_internals.h.
constexpr uint32_t kFilterSource = 1 << 0;
constexpr uint32_t kFilterDestination = 1 << 1;
constexpr uint32_t kFilterProtocol = 1 << 3;
constexpr uint32_t kFilterSourcePort = 1 << 4;
constexpr uint32_t kFilterDestinationPort = 1 << 5;

MessageBuilder Message(uint8_t command, Family family) {
  MessageBuilder message(NFNL_SUBSYS_CTNETLINK << 8 | command, 0);
  message.PutHeader(nfgenmsg{
      .nfgen_family =
          static_cast<uint8_t>(family == Family::kIpv4 ? AF_INET : AF_INET6),
      .version = NFNETLINK_V0,
  });
  return message;
}

absl::Status ReadAddresses(const Attribute& attribute, FlowTuple& ends) {
  switch (attribute.type) {
    case CTA_IP_V4_SRC:
    case CTA_IP_V6_SRC: {
      ASSIGN_OR_RETURN(ends.source, attribute.Address());
      break;
    }
    case CTA_IP_V4_DST:
    case CTA_IP_V6_DST: {
      ASSIGN_OR_RETURN(ends.destination, attribute.Address());
      break;
    }
  }
  return absl::OkStatus();
}

absl::Status ReadPorts(const Attribute& attribute, Tuple& tuple) {
  switch (attribute.type) {
    case CTA_PROTO_NUM: {
      ASSIGN_OR_RETURN(tuple.protocol, attribute.U8());
      break;
    }
    case CTA_PROTO_SRC_PORT: {
      ASSIGN_OR_RETURN(tuple.ends.source_port, attribute.Be16());
      break;
    }
    case CTA_PROTO_DST_PORT: {
      ASSIGN_OR_RETURN(tuple.ends.destination_port, attribute.Be16());
      break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Tuple> ReadTuple(const Attribute& attribute) {
  Tuple tuple;
  RETURN_IF_ERROR(ForEachAttribute(
      attribute.payload, [&tuple](const Attribute& part) -> absl::Status {
        return ForEachAttribute(part.payload,
                                [&](const Attribute& field) -> absl::Status {
                                  if (part.type == CTA_TUPLE_IP) {
                                    return ReadAddresses(field, tuple.ends);
                                  }
                                  if (part.type == CTA_TUPLE_PROTO)
                                    return ReadPorts(field, tuple);
                                  return absl::OkStatus();
                                });
      }));
  return tuple;
}

absl::Status ReadFlowAttribute(const Attribute& attribute, Flow& flow,
                               uint16_t& zone) {
  switch (attribute.type) {
    case CTA_TUPLE_ORIG: {
      ASSIGN_OR_RETURN(const Tuple tuple, ReadTuple(attribute));
      flow.original = tuple.ends;
      flow.protocol = tuple.protocol;
      break;
    }
    case CTA_TUPLE_REPLY: {
      ASSIGN_OR_RETURN(const Tuple tuple, ReadTuple(attribute));
      flow.reply = tuple.ends;
      break;
    }
    case CTA_MARK: {
      ASSIGN_OR_RETURN(flow.mark, attribute.Be32());
      break;
    }
    case CTA_STATUS: {
      ASSIGN_OR_RETURN(flow.status, attribute.Be32());
      break;
    }
    case CTA_ID: {
      ASSIGN_OR_RETURN(flow.id, attribute.Be32());
      break;
    }
    case CTA_ZONE: {
      ASSIGN_OR_RETURN(zone, attribute.Be16());
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<Flow>> ReadFlow(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<nfgenmsg>());
  Flow flow;
  uint16_t zone = 0;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header), [&](const Attribute& attribute) {
        return ReadFlowAttribute(attribute, flow, zone);
      }));
  const bool known =
      flow.protocol == IPPROTO_TCP || flow.protocol == IPPROTO_UDP;
  if (!known || zone != 0) return std::nullopt;
  return flow;
}

MessageBuilder FlowsRequest(Family family) {
  return Message(IPCTNL_MSG_CT_GET, family);
}

MessageBuilder FlowsRequest(const FlowFilter& filter) {
  using End = FlowFilter::End;
  const bool by_address = filter.address.is_ipv4();
  if (!by_address && filter.protocol == 0) {
    return FlowsRequest(filter.address.family());
  }
  const bool original = filter.end == End::kOriginalSource ||
                        filter.end == End::kOriginalDestination;
  const bool source =
      filter.end == End::kOriginalSource || filter.end == End::kReplySource;
  uint32_t compared = 0;
  MessageBuilder message = Message(IPCTNL_MSG_CT_GET, filter.address.family());
  const size_t tuple =
      message.BeginNest(original ? CTA_TUPLE_ORIG : CTA_TUPLE_REPLY);
  if (by_address) {
    compared |= source ? kFilterSource : kFilterDestination;
    const size_t address = message.BeginNest(CTA_TUPLE_IP);
    message.PutAddress(source ? CTA_IP_V4_SRC : CTA_IP_V4_DST, filter.address);
    message.EndNest(address);
  }
  if (filter.protocol != 0) {
    compared |= kFilterProtocol;
    const size_t protocol = message.BeginNest(CTA_TUPLE_PROTO);
    message.PutU8(CTA_PROTO_NUM, filter.protocol);
    if (filter.port != 0) {
      compared |= source ? kFilterSourcePort : kFilterDestinationPort;
      message.PutBe16(source ? CTA_PROTO_SRC_PORT : CTA_PROTO_DST_PORT,
                      filter.port);
    }
    message.EndNest(protocol);
  }
  message.EndNest(tuple);
  const size_t flags = message.BeginNest(CTA_FILTER);
  message.PutU32(CTA_FILTER_ORIG_FLAGS, original ? compared : 0);
  message.PutU32(CTA_FILTER_REPLY_FLAGS, original ? 0 : compared);
  message.EndNest(flags);
  return message;
}

MessageBuilder DeleteFlowRequest(const Flow& flow) {
  const bool ipv4 = flow.original.source.is_ipv4();
  MessageBuilder message =
      Message(IPCTNL_MSG_CT_DELETE, flow.original.source.family());
  const size_t tuple = message.BeginNest(CTA_TUPLE_ORIG);
  const size_t addresses = message.BeginNest(CTA_TUPLE_IP);
  message.PutAddress(ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC,
                     flow.original.source);
  message.PutAddress(ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST,
                     flow.original.destination);
  message.EndNest(addresses);
  const size_t protocol = message.BeginNest(CTA_TUPLE_PROTO);
  message.PutU8(CTA_PROTO_NUM, flow.protocol);
  message.PutBe16(CTA_PROTO_SRC_PORT, flow.original.source_port);
  message.PutBe16(CTA_PROTO_DST_PORT, flow.original.destination_port);
  message.EndNest(protocol);
  message.EndNest(tuple);
  message.PutBe32(CTA_ID, flow.id);
  return message;
}

}  // namespace edged::netlink
