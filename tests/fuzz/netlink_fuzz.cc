// A datagram of rtnetlink, as the loop's event sockets read it: messages,
// attributes, links, addresses, routes, rules, settings, acknowledgements.

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "common/netlink/kernel_error.h"
#include "common/netlink/route_events.h"
#include "common/netlink/rtnetlink_codec.h"
#include "common/status.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

using netlink::Attribute;
using netlink::MessageBuilder;
using netlink::MessageView;

// Every reader gets every message, whatever its type says.
void ReadWithAll(const MessageView& message) {
  (void)netlink::ReadLink(message).status();
  (void)netlink::ReadAddress(message).status();
  (void)netlink::ReadNeighbour(message).status();
  (void)netlink::ReadAnyRoute(message).status();
  (void)netlink::ReadTableRoute(message).status();
  (void)netlink::ReadRule(message).status();
  (void)netlink::ReadNetconf(message).status();
}

void TryAck(const MessageView& message) {
  const auto error = netlink::ReadAck(message);
  if (!error.ok()) return;
  Require(error->error >= 0, "an acknowledgement's error is an errno or 0");
  if (error->error == 0) return;
  const auto carried =
      netlink::KernelErrorOf(netlink::KernelErrorStatus(*error, "fuzz"));
  Require(carried == *error, "a status carries the kernel's error unchanged");
}

// Attributes, put together again, are read as before.
void TryAttributes(const MessageView& message) {
  MessageBuilder copy(message.type, 0, 1 << 20);
  std::vector<Attribute> read;
  const auto read_one = [&](const Attribute& attribute) {
    read.push_back(attribute);
    copy.Put(attribute.type, attribute.payload);
    return absl::OkStatus();
  };
  if (!netlink::ForEachAttribute(message.payload, read_one).ok()) return;
  size_t at = 0;
  const std::string bytes = Finished(std::move(copy));
  const absl::Status status = netlink::ForEachMessage(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
      [&](const MessageView& again) {
        return netlink::ForEachAttribute(
            again.payload, [&](const Attribute& attribute) {
              Require(at < read.size() && attribute.type == read[at].type &&
                          AsText(attribute.payload) == AsText(read[at].payload),
                      "attributes are read as they were put");
              ++at;
              return absl::OkStatus();
            });
      });
  Require(status.ok() && at == read.size(), "all attributes are read again");
}

std::string Link() {
  MessageBuilder message(RTM_NEWLINK, 0);
  message.PutHeader(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = 7});
  message.PutString(IFLA_IFNAME, "edged0");
  message.PutU32(IFLA_MTU, 1420);
  const size_t info = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, "wireguard");
  message.EndNest(info);
  const size_t families = message.BeginNest(IFLA_AF_SPEC);
  const size_t inet = message.BeginNest(AF_INET);
  message.Put(IFLA_INET_CONF, std::vector<uint8_t>(33 * 4, 1));
  message.EndNest(inet);
  message.EndNest(families);
  return Finished(std::move(message));
}

std::string Address(std::string_view text) {
  const IpAddress address = *IpAddress::Parse(text);
  MessageBuilder message(RTM_DELADDR, 0);
  message.PutHeader(ifaddrmsg{
      .ifa_family =
          static_cast<uint8_t>(address.is_ipv4() ? AF_INET : AF_INET6),
      .ifa_prefixlen = 24,
      .ifa_index = 7,
  });
  message.PutAddress(IFA_ADDRESS, address);
  message.PutAddress(IFA_LOCAL, address);
  message.PutU32(IFA_FLAGS, IFA_F_PERMANENT);
  return Finished(std::move(message));
}

std::string Route() {
  MessageBuilder message(RTM_NEWROUTE, 0);
  message.PutHeader(rtmsg{.rtm_family = AF_INET,
                          .rtm_dst_len = 22,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = netlink::kRouteProtocol,
                          .rtm_type = RTN_UNICAST});
  message.PutAddress(RTA_DST, *IpAddress::Parse("10.200.0.0"));
  message.PutAddress(RTA_GATEWAY, *IpAddress::Parse("192.0.2.1"));
  message.PutAddress(RTA_PREFSRC, *IpAddress::Parse("10.200.0.1"));
  message.Put(RTA_VIA, std::vector<uint8_t>(sizeof(rtvia) + 16, 0x20));
  message.PutU32(RTA_OIF, 7);
  message.PutU32(RTA_TABLE, 1000);
  message.PutU32(RTA_PRIORITY, 10);
  return Finished(std::move(message));
}

std::string Rule() {
  MessageBuilder message(RTM_NEWRULE, 0);
  message.PutHeader(
      fib_rule_hdr{.family = AF_INET6, .table = 5, .action = FR_ACT_TO_TBL});
  message.PutU32(FRA_PRIORITY, 100);
  message.PutU32(FRA_FWMARK, 0x4);
  message.PutU32(FRA_FWMASK, 0xff);
  message.PutU32(FRA_TABLE, 1000);
  message.PutU32(FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
  message.PutU8(FRA_PROTOCOL, netlink::kRouteProtocol);
  return Finished(std::move(message));
}

std::string Settings() {
  MessageBuilder message(RTM_NEWNETCONF, 0);
  message.PutHeader(netconfmsg{.ncm_family = AF_INET});
  message.PutU32(NETCONFA_IFINDEX, 7);
  message.PutU32(NETCONFA_FORWARDING, 1);
  message.PutU32(NETCONFA_RP_FILTER, 2);
  return Finished(std::move(message));
}

std::string Refusal() {
  MessageBuilder message(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED);
  message.PutHeader(nlmsgerr{.error = -EEXIST});
  message.PutString(NLMSGERR_ATTR_MSG, "the address is there already");
  message.PutU32(NLMSGERR_ATTR_OFFS, 36);
  message.PutU32(NLMSGERR_ATTR_MISS_TYPE, 2);
  return Finished(std::move(message));
}

}  // namespace

bool Try(Input input) {
  const absl::Status status = netlink::ForEachMessage(
      input, [](const MessageView& message) -> absl::Status {
        ReadWithAll(message);
        TryAttributes(message);
        TryAck(message);
        ASSIGN_OR_RETURN(const auto event, netlink::ReadRouteEvent(message));
        if (event) {
          Require(!netlink::DescribeEvent(*event).empty(),
                  "an event has a description");
        }
        return absl::OkStatus();
      });
  return status.ok() && !input.empty();
}

std::vector<std::string> Seeds() {
  return {Link(),
          Address("203.0.113.1"),
          Address("2001:db8::1"),
          Route(),
          Rule(),
          Settings(),
          Refusal(),
          Link() + Address("203.0.113.1") + Route()};
}

}  // namespace edged::fuzz
