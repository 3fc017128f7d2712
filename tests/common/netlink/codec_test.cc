#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/netconf.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>

#include "common/netlink/conntrack_codec.h"
#include "common/netlink/route_events.h"
#include "common/netlink/rtnetlink_codec.h"
#include "common/status.h"

// What the kernel sends, read from bytes made here: what the kernel tests
// cannot provoke, and the same messages cut at every byte.

namespace edged::netlink {
namespace {

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

std::vector<uint8_t> Finished(MessageBuilder& message) {
  const auto bytes = message.Finish();
  REQUIRE(bytes.ok());
  return {bytes->begin(), bytes->end()};
}

using Reader = std::function<std::string(const MessageView&)>;

// What `read` makes of the one message in `bytes`.
std::string ReadWith(const Reader& read, std::span<const uint8_t> bytes) {
  std::string text;
  const absl::Status status =
      ForEachMessage(bytes, [&](const MessageView& message) {
        text = read(message);
        return absl::OkStatus();
      });
  return status.ok() ? text : std::string(Message(status));
}

// Reads the message cut at every byte, with a length that fits the cut. Every
// result is an error, or nothing, or an object with less in it.
void CutEverywhere(const Reader& read, const std::vector<uint8_t>& whole) {
  const std::string complete = ReadWith(read, whole);
  int errors = 0;
  for (size_t size = NLMSG_HDRLEN; size < whole.size(); ++size) {
    std::vector<uint8_t> cut(whole.begin(), whole.begin() + size);
    const auto length = static_cast<uint32_t>(size);
    std::memcpy(cut.data(), &length, sizeof length);
    const std::string text = ReadWith(read, cut);
    if (text.starts_with("error: ")) ++errors;
  }
  INFO(complete);
  // Of four cuts at most three can lie in padding or between attributes.
  CHECK(errors > static_cast<int>(whole.size() - NLMSG_HDRLEN) / 4);
}

std::string Error(const absl::Status& status) {
  return fmt::format("error: {}", Message(status));
}

std::string LinkText(const MessageView& message) {
  const auto link = ReadLink(message);
  if (!link.ok()) return Error(link.status());
  if (!link->has_value()) return "none";
  return fmt::format("{} {} {} mtu {} up {} forwarding {} rp_filter {}",
                     (*link)->index, (*link)->name, (*link)->kind, (*link)->mtu,
                     (*link)->up, (*link)->ipv4.forwarding,
                     (*link)->ipv4.rp_filter);
}

MessageBuilder LinkMessage(uint8_t family, size_t settings) {
  MessageBuilder message(RTM_NEWLINK, 0);
  message.PutHeader(ifinfomsg{.ifi_family = family,
                              .ifi_index = 7,
                              .ifi_flags = static_cast<unsigned>(IFF_UP)});
  message.PutString(IFLA_IFNAME, "edged0");
  message.PutU32(IFLA_MTU, 1420);
  const size_t info = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, "wireguard");
  message.EndNest(info);
  const size_t families = message.BeginNest(IFLA_AF_SPEC);
  const size_t sixth = message.BeginNest(AF_INET6);
  message.PutU32(IFLA_INET_CONF, 99);  // means something else in AF_INET6
  message.EndNest(sixth);
  const size_t fourth = message.BeginNest(AF_INET);
  std::vector<uint8_t> values(settings * 4);
  if (settings >= 1) values[0] = 1;
  if (settings >= 8) values[28] = 2;
  message.Put(IFLA_INET_CONF, values);
  message.EndNest(fourth);
  message.EndNest(families);
  return message;
}

// With this many of the IPv6 settings, counted from 0.
std::string Ipv6Text(size_t settings, uint32_t disabled, uint32_t force) {
  MessageBuilder message(RTM_NEWLINK, 0);
  message.PutHeader(ifinfomsg{.ifi_index = 7});
  const size_t families = message.BeginNest(IFLA_AF_SPEC);
  const size_t sixth = message.BeginNest(AF_INET6);
  std::vector<uint32_t> values(settings);
  if (settings > 26) values[26] = disabled;
  if (settings > 59) values[59] = force;
  message.Put(IFLA_INET6_CONF,
              {reinterpret_cast<const uint8_t*>(values.data()), settings * 4});
  message.EndNest(sixth);
  message.EndNest(families);
  return ReadWith(
      [](const MessageView& view) {
        const Ipv6Conf conf = (**ReadLink(view)).ipv6;
        return fmt::format("enabled {} force {}", conf.enabled,
                           conf.force_forwarding
                               ? std::to_string(*conf.force_forwarding)
                               : "unknown");
      },
      Finished(message));
}

TEST_CASE("rtnetlink_codec: reads a link's IPv6 settings, old kernels' too",
          "[rtnetlink_codec]") {
  CHECK(Ipv6Text(60, 0, 1) == "enabled true force 1");
  CHECK(Ipv6Text(60, 1, 0) == "enabled false force 0");
  CHECK(Ipv6Text(59, 0, 0) == "enabled true force unknown");
  MessageBuilder none = LinkMessage(AF_UNSPEC, 33);
  const auto link = ReadWith(
      [](const MessageView& view) {
        return std::to_string((**ReadLink(view)).ipv6.enabled);
      },
      Finished(none));
  CHECK(link == "0");
}

TEST_CASE("rtnetlink_codec: reads a link and its IPv4 settings",
          "[rtnetlink_codec]") {
  MessageBuilder message = LinkMessage(AF_UNSPEC, 33);
  const auto bytes = Finished(message);
  CHECK(ReadWith(LinkText, bytes) ==
        "7 edged0 wireguard mtu 1420 up true forwarding true rp_filter 2");
  CutEverywhere(LinkText, bytes);
  MessageBuilder fewer = LinkMessage(AF_UNSPEC, 3);
  CHECK(ReadWith(LinkText, Finished(fewer)) ==
        "7 edged0 wireguard mtu 1420 up true forwarding true rp_filter 0");
}

TEST_CASE("rtnetlink_codec: a bridge's word about its port is no link",
          "[rtnetlink_codec]") {
  // RTM_DELLINK of AF_BRIDGE says that the port left, not that it is gone.
  MessageBuilder message = LinkMessage(AF_BRIDGE, 0);
  CHECK(ReadWith(LinkText, Finished(message)) == "none");
}

std::string AddressText(const MessageView& message) {
  const auto address = ReadAddress(message);
  if (!address.ok()) return Error(address.status());
  return fmt::format("{}/{} link {} scope {} flags {:#x}",
                     address->address.ToString(), address->prefix_length,
                     address->link, address->scope, address->flags);
}

TEST_CASE("rtnetlink_codec: an address with a peer is the local one",
          "[rtnetlink_codec]") {
  for (const bool peer_first : {false, true}) {
    MessageBuilder message(RTM_NEWADDR, 0);
    message.PutHeader(ifaddrmsg{AF_INET, 32, 0x80, RT_SCOPE_UNIVERSE, 7});
    if (peer_first) message.PutAddress(IFA_ADDRESS, Ip("10.0.0.2"));
    message.PutAddress(IFA_LOCAL, Ip("10.0.0.1"));
    if (!peer_first) message.PutAddress(IFA_ADDRESS, Ip("10.0.0.2"));
    message.PutU32(IFA_FLAGS, 0x280);
    const auto bytes = Finished(message);
    CHECK(ReadWith(AddressText, bytes) ==
          "10.0.0.1/32 link 7 scope 0 flags 0x280");
    CutEverywhere(AddressText, bytes);
  }
}

TEST_CASE("rtnetlink_codec: refuses an address of another family",
          "[rtnetlink_codec]") {
  MessageBuilder message(RTM_NEWADDR, 0);
  message.PutHeader(ifaddrmsg{AF_INET, 32, 0, 0, 7});
  message.PutAddress(IFA_ADDRESS, Ip("fd00::1"));
  CHECK(ReadWith(AddressText, Finished(message)) ==
        "error: netlink attribute 1 is of the wrong IP family");
  MessageBuilder appletalk(RTM_NEWADDR, 0);
  appletalk.PutHeader(ifaddrmsg{5, 32, 0, 0, 7});
  CHECK(ReadWith(AddressText, Finished(appletalk)) ==
        "error: netlink: address family 5 is not IP");
}

std::string RouteText(const MessageView& message) {
  const auto route = ReadTableRoute(message);
  if (!route.ok()) return Error(route.status());
  if (!route->has_value()) return "none";
  std::string text =
      fmt::format("{} {} via {} link {} table {} metric {}",
                  ToString((*route)->kind), (*route)->destination.ToString(),
                  (*route)->gateway ? (*route)->gateway->ToString() : "-",
                  (*route)->link, (*route)->table, (*route)->priority);
  for (const NextHop& hop : (*route)->hops) {
    text += fmt::format("; hop via {} link {}",
                        hop.gateway ? hop.gateway->ToString() : "-", hop.link);
  }
  return text;
}

rtmsg RouteHeader(uint8_t family, uint8_t type, unsigned flags) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_type = type;
  header.rtm_flags = flags;
  return header;
}

TEST_CASE("rtnetlink_codec: reads default routes and far gateways",
          "[rtnetlink_codec]") {
  MessageBuilder message(RTM_NEWROUTE, 0);
  message.PutHeader(RouteHeader(AF_INET, RTN_UNICAST, 0));
  std::vector<uint8_t> gateway = {AF_INET6, 0};
  const IpAddress sixth = Ip("fe80::1");
  gateway.insert(gateway.end(), sixth.bytes().begin(), sixth.bytes().end());
  message.Put(RTA_VIA, gateway);
  message.PutU32(RTA_OIF, 7);
  message.PutU32(RTA_TABLE, 51900);
  message.PutU32(RTA_PRIORITY, 5);
  const auto bytes = Finished(message);
  CHECK(ReadWith(RouteText, bytes) ==
        "unicast 0.0.0.0/0 via fe80::1 link 7 table 51900 metric 5");
  CutEverywhere(RouteText, bytes);
}

void AddHop(std::vector<uint8_t>& hops, int link, uint16_t attribute,
            const std::vector<uint8_t>& payload) {
  const nlattr gateway{static_cast<uint16_t>(sizeof gateway + payload.size()),
                       attribute};
  const rtnexthop hop{
      .rtnh_len = static_cast<uint16_t>(sizeof hop + gateway.nla_len),
      .rtnh_ifindex = link};
  const auto put = [&hops](const auto& part) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&part);
    hops.insert(hops.end(), bytes, bytes + sizeof part);
  };
  put(hop);
  put(gateway);
  hops.insert(hops.end(), payload.begin(), payload.end());
  hops.resize(RTNH_ALIGN(hops.size()));
}

TEST_CASE("rtnetlink_codec: reads the hops of multipath routes",
          "[rtnetlink_codec]") {
  std::vector<uint8_t> hops;
  AddHop(hops, 7, RTA_GATEWAY, {192, 0, 2, 1});
  std::vector<uint8_t> via = {AF_INET6, 0};
  const IpAddress sixth = Ip("fe80::1");
  via.insert(via.end(), sixth.bytes().begin(), sixth.bytes().end());
  AddHop(hops, 8, RTA_VIA, via);
  MessageBuilder message(RTM_NEWROUTE, 0);
  message.PutHeader(RouteHeader(AF_INET, RTN_UNICAST, 0));
  message.Put(RTA_MULTIPATH, hops);
  const auto bytes = Finished(message);
  CHECK(ReadWith(RouteText, bytes) ==
        "unicast 0.0.0.0/0 via - link 0 table 254 metric 0; "
        "hop via 192.0.2.1 link 7; hop via fe80::1 link 8");
  CutEverywhere(RouteText, bytes);
  hops[0] = 3;  // shorter than its own head
  MessageBuilder wrong(RTM_NEWROUTE, 0);
  wrong.PutHeader(RouteHeader(AF_INET, RTN_UNICAST, 0));
  wrong.Put(RTA_MULTIPATH, hops);
  CHECK(ReadWith(RouteText, Finished(wrong)) ==
        "error: netlink: a next hop of 3 bytes in 48");
}

TEST_CASE("rtnetlink_codec: leaves out what is no route of a table",
          "[rtnetlink_codec]") {
  for (const rtmsg& header : {RouteHeader(AF_INET, RTN_LOCAL, 0),
                              RouteHeader(AF_INET6, RTN_UNICAST, RTM_F_CLONED),
                              RouteHeader(128 + 1, RTN_MULTICAST, 0)}) {
    MessageBuilder message(RTM_NEWROUTE, 0);
    message.PutHeader(header);
    CHECK(ReadWith(RouteText, Finished(message)) == "none");
  }
}

TEST_CASE("rtnetlink_codec: reads routes that refuse", "[rtnetlink_codec]") {
  std::string text;
  for (const uint8_t type :
       {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW}) {
    MessageBuilder message(RTM_NEWROUTE, 0);
    message.PutHeader(RouteHeader(AF_INET, type, 0));
    text += ReadWith(RouteText, Finished(message)) + "\n";
  }
  CHECK(text ==
        "blackhole 0.0.0.0/0 via - link 0 table 254 metric 0\n"
        "unreachable 0.0.0.0/0 via - link 0 table 254 metric 0\n"
        "prohibit 0.0.0.0/0 via - link 0 table 254 metric 0\n"
        "throw 0.0.0.0/0 via - link 0 table 254 metric 0\n");
}

// "*" marks what Rule can say.
std::string RuleText(const MessageView& message) {
  const auto rule = ReadRule(message);
  if (!rule.ok()) return Error(rule.status());
  return fmt::format("{}: {} protocol {}{}", rule->priority, rule->text,
                     rule->protocol, rule->plain ? "*" : "");
}

MessageBuilder RuleMessage() {
  MessageBuilder message(RTM_NEWRULE, 0);
  fib_rule_hdr header{};
  header.family = AF_INET;
  header.action = FR_ACT_TO_TBL;
  message.PutHeader(header);
  message.PutU32(FRA_TABLE, 51900);
  message.PutU32(FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
  message.PutU8(FRA_PROTOCOL, kRouteProtocol);
  message.PutU32(FRA_PRIORITY, 900);
  message.PutU32(FRA_FWMARK, 5);
  message.PutU32(FRA_FWMASK, 0xff);
  return message;
}

TEST_CASE("rtnetlink_codec: reads a rule by mark and nothing else",
          "[rtnetlink_codec]") {
  MessageBuilder plain = RuleMessage();
  const auto bytes = Finished(plain);
  CHECK(ReadWith(RuleText, bytes) ==
        "900: from all fwmark 0x5/0xff lookup 51900 protocol 237*");
  CutEverywhere(RuleText, bytes);

  MessageBuilder suppressed = RuleMessage();
  suppressed.PutU32(FRA_SUPPRESS_PREFIXLEN, 0);
  CHECK(ReadWith(RuleText, Finished(suppressed)) ==
        "900: from all fwmark 0x5/0xff suppress_prefixlength 0 lookup 51900 "
        "protocol 237");
  // Attributes of later kernels select by something too.
  MessageBuilder unknown = RuleMessage();
  unknown.PutU32(FRA_MAX + 20, 1);
  CHECK(ReadWith(RuleText, Finished(unknown)) ==
        fmt::format("900: from all fwmark 0x5/0xff attribute {} lookup 51900 "
                    "protocol 237",
                    FRA_MAX + 20));
}

TEST_CASE("rtnetlink_codec: reads a rule of any kind", "[rtnetlink_codec]") {
  MessageBuilder message(RTM_NEWRULE, 0);
  fib_rule_hdr header{};
  header.family = AF_INET;
  header.action = FR_ACT_PROHIBIT;
  header.src_len = 24;
  header.dst_len = 8;
  header.flags = FIB_RULE_INVERT;
  message.PutHeader(header);
  message.PutAddress(FRA_SRC, Ip("198.51.100.0"));
  message.PutAddress(FRA_DST, Ip("10.0.0.0"));
  message.PutU32(FRA_PRIORITY, 50);
  message.PutString(FRA_IIFNAME, "eth0");
  message.PutU8(FRA_IP_PROTO, 6);
  const fib_rule_port_range ports{80, 90};
  message.Put(FRA_DPORT_RANGE,
              std::span(reinterpret_cast<const uint8_t*>(&ports), 4));
  const auto bytes = Finished(message);
  CHECK(ReadWith(RuleText, bytes) ==
        "50: not from 198.51.100.0/24 to 10.0.0.0/8 iif eth0 ipproto 6 dport "
        "80-90 prohibit protocol 0");
  CutEverywhere(RuleText, bytes);
}

std::string EventText(const MessageView& message) {
  const auto event = ReadRouteEvent(message);
  if (!event.ok()) return Error(event.status());
  return event->has_value() ? DescribeEvent(**event) : "none";
}

MessageBuilder NetconfMessage(int link) {
  MessageBuilder message(RTM_NEWNETCONF, 0);
  message.PutHeader(netconfmsg{AF_INET});
  message.PutU32(NETCONFA_IFINDEX, static_cast<uint32_t>(link));
  message.PutU32(NETCONFA_FORWARDING, 1);
  message.PutU32(NETCONFA_RP_FILTER, 2);
  return message;
}

TEST_CASE("route_events: describes settings of one link, all and new ones",
          "[route_events]") {
  MessageBuilder one = NetconfMessage(7);
  const auto bytes = Finished(one);
  CHECK(ReadWith(EventText, bytes) ==
        "settings of link 7 forwarding 1 rp_filter 2");
  CutEverywhere(EventText, bytes);
  MessageBuilder all = NetconfMessage(NETCONFA_IFINDEX_ALL);
  CHECK(ReadWith(EventText, Finished(all)) ==
        "settings of all links forwarding 1 rp_filter 2");
  MessageBuilder next = NetconfMessage(NETCONFA_IFINDEX_DEFAULT);
  CHECK(ReadWith(EventText, Finished(next)) ==
        "settings of new links forwarding 1 rp_filter 2");
}

TEST_CASE("route_events: IPv6 settings are told apart", "[route_events]") {
  MessageBuilder message(RTM_NEWNETCONF, 0);
  message.PutHeader(netconfmsg{AF_INET6});
  message.PutU32(NETCONFA_IFINDEX, static_cast<uint32_t>(NETCONFA_IFINDEX_ALL));
  message.PutU32(NETCONFA_FORWARDING, 1);
  CHECK(ReadWith(EventText, Finished(message)) ==
        "IPv6 settings of all links forwarding 1");
}

TEST_CASE("route_events: other messages are none", "[route_events]") {
  MessageBuilder message(RTM_NEWNEIGH, 0);
  CHECK(ReadWith(EventText, Finished(message)) == "none");
}

std::string FlowText(const MessageView& message) {
  const auto flow = ReadFlow(message);
  if (!flow.ok()) return Error(flow.status());
  if (!flow->has_value()) return "none";
  const FlowTuple& ends = (*flow)->original;
  return fmt::format("{} {}:{} > {}:{} id {}", (*flow)->protocol,
                     ends.source.ToString(), ends.source_port,
                     ends.destination.ToString(), ends.destination_port,
                     (*flow)->id);
}

Flow SomeFlow(uint8_t protocol) {
  return {.protocol = protocol,
          .original = {Ip("192.0.2.1"), Ip("198.51.100.2"), 40000, 443},
          .id = 77};
}

TEST_CASE("conntrack_codec: a request to delete names the flow",
          "[conntrack_codec]") {
  MessageBuilder message = DeleteFlowRequest(SomeFlow(IPPROTO_TCP));
  const auto bytes = Finished(message);
  CHECK(ReadWith(FlowText, bytes) ==
        "6 192.0.2.1:40000 > 198.51.100.2:443 id 77");
  CutEverywhere(FlowText, bytes);

  Flow sixth = SomeFlow(IPPROTO_UDP);
  sixth.original.source = Ip("2001:db8::1");
  sixth.original.destination = Ip("2001:db8::2");
  MessageBuilder message6 = DeleteFlowRequest(sixth);
  CHECK(ReadWith(FlowText, Finished(message6)) ==
        "17 2001:db8::1:40000 > 2001:db8::2:443 id 77");
}

TEST_CASE("conntrack_codec: a request names the ends that it asks for",
          "[conntrack_codec]") {
  using End = FlowFilter::End;
  const auto asks = [](const FlowFilter& filter) {
    MessageBuilder message = FlowsRequest(filter);
    std::string text;
    for (const uint8_t byte : Finished(message)) {
      text += fmt::format("{:02x}", byte);
    }
    return text.substr(2 * (sizeof(nlmsghdr) + sizeof(nfgenmsg)));
  };
  // The filter's two words: what is compared of the original, of the reply.
  CHECK(asks({End::kOriginalDestination, Ip("192.0.2.1"), IPPROTO_UDP, 53})
            .ends_with("14001980"
                       "080001002a000000"
                       "0800020000000000"));
  CHECK(asks({End::kReplySource, Ip("192.0.2.1")})
            .ends_with("0800010000000000"
                       "0800020001000000"));
  // Not the address of IPv6; without anything to compare there is no filter.
  CHECK(asks({End::kReplySource, Ip("2001:db8::1"), IPPROTO_UDP, 53})
            .ends_with("0800010000000000"
                       "0800020018000000"));
  CHECK(asks({End::kReplySource, Ip("2001:db8::1")}).empty());
}

TEST_CASE("conntrack_codec: leaves out other protocols and zones",
          "[conntrack_codec]") {
  MessageBuilder icmp = DeleteFlowRequest(SomeFlow(IPPROTO_ICMP));
  CHECK(ReadWith(FlowText, Finished(icmp)) == "none");
  MessageBuilder zoned = DeleteFlowRequest(SomeFlow(IPPROTO_TCP));
  zoned.PutBe16(CTA_ZONE, 5);
  CHECK(ReadWith(FlowText, Finished(zoned)) == "none");
}

}  // namespace
}  // namespace edged::netlink
