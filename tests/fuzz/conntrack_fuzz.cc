// Connections as ctnetlink lists them, and the requests that delete them.

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/netlink/conntrack_codec.h"
#include "common/status.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

using netlink::Flow;
using netlink::FlowTuple;
using netlink::MessageBuilder;
using netlink::MessageView;

// A request to delete names the very flow that it was made from.
void TryDelete(const Flow& flow) {
  const std::string bytes = Finished(netlink::DeleteFlowRequest(flow));
  const absl::Status status = netlink::ForEachMessage(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
      [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(const auto named, netlink::ReadFlow(message));
        Require(named && named->original == flow.original &&
                    named->protocol == flow.protocol && named->id == flow.id,
                "a request to delete names its flow");
        return absl::OkStatus();
      });
  Require(status.ok(), "a request to delete can be read");
}

void PutTuple(uint16_t attribute, const FlowTuple& ends, uint8_t protocol,
              MessageBuilder& message) {
  const bool ipv4 = ends.source.is_ipv4();
  const size_t tuple = message.BeginNest(attribute);
  const size_t addresses = message.BeginNest(CTA_TUPLE_IP);
  message.PutAddress(ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, ends.source);
  message.PutAddress(ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, ends.destination);
  message.EndNest(addresses);
  const size_t ports = message.BeginNest(CTA_TUPLE_PROTO);
  message.PutU8(CTA_PROTO_NUM, protocol);
  message.PutBe16(CTA_PROTO_SRC_PORT, ends.source_port);
  message.PutBe16(CTA_PROTO_DST_PORT, ends.destination_port);
  message.EndNest(ports);
  message.EndNest(tuple);
}

std::string FlowBetween(std::string_view client, std::string_view edge,
                        std::string_view uplink, uint8_t protocol) {
  MessageBuilder message(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, 0);
  const IpAddress from = *IpAddress::Parse(client);
  message.PutHeader(nfgenmsg{.nfgen_family = static_cast<uint8_t>(
                                 from.is_ipv4() ? AF_INET : AF_INET6)});
  PutTuple(CTA_TUPLE_ORIG, {from, *IpAddress::Parse(edge), 40000, 443},
           protocol, message);
  PutTuple(CTA_TUPLE_REPLY, {*IpAddress::Parse(uplink), from, 443, 40000},
           protocol, message);
  message.PutBe32(CTA_STATUS, IPS_CONFIRMED | IPS_DST_NAT);
  message.PutBe32(CTA_MARK, 0xed000100);
  message.PutBe32(CTA_ID, 4711);
  message.PutBe16(CTA_ZONE, 0);
  return Finished(std::move(message));
}

}  // namespace

bool Try(Input input) {
  int flows = 0;
  const absl::Status status = netlink::ForEachMessage(
      input, [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(const auto flow, netlink::ReadFlow(message));
        if (!flow) return absl::OkStatus();
        ++flows;
        TryDelete(*flow);
        return absl::OkStatus();
      });
  return status.ok() && flows > 0;
}

std::vector<std::string> Seeds() {
  const std::string ipv4 =
      FlowBetween("198.51.100.9", "203.0.113.1", "10.200.0.17", IPPROTO_TCP);
  const std::string ipv6 =
      FlowBetween("2001:db8::9", "2001:db8:1::1", "fd00::11", IPPROTO_UDP);
  return {ipv4, ipv6, ipv4 + ipv6};
}

}  // namespace edged::fuzz
