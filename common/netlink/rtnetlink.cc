#include "common/netlink/rtnetlink.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "common/netlink/rtnetlink_codec.h"
#include "common/status.h"

namespace edged::netlink {
namespace {

uint8_t AddressFamily(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

// The error, unless it only says that there was nothing to do.
absl::Status Unless(std::initializer_list<int> harmless, absl::Status status) {
  const auto error = KernelErrorOf(status);
  for (const int code : harmless) {
    if (error.has_value() && error->error == code) return absl::OkStatus();
  }
  return status;
}

// Dumps one kind of object of both families through `read`, which returns a
// StatusOr of an object or of an optional one.
template <typename Object, typename Header, typename Read>
absl::StatusOr<std::vector<Object>> DumpBothFamilies(Socket& socket,
                                                     uint16_t type,
                                                     std::string_view what,
                                                     Read read) {
  std::vector<Object> objects;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    MessageBuilder request(type, 0);
    Header header{};
    // Every header of rtnetlink begins with the family.
    reinterpret_cast<uint8_t&>(header) = family;
    request.PutHeader(header);
    const size_t before = objects.size();
    const absl::Status status = socket.Dump(
        request, what, [&] { objects.resize(before); },
        [&](const MessageView& answer) -> absl::Status {
          // A kernel without IPv6 answers for all families instead.
          if (answer.payload.empty() || answer.payload[0] != family) {
            return absl::OkStatus();
          }
          ASSIGN_OR_RETURN(std::optional<Object> object, read(answer));
          if (object.has_value()) objects.push_back(*std::move(object));
          return absl::OkStatus();
        });
    // Of rules such a kernel says that it has no such family.
    const auto error = KernelErrorOf(status);
    if (family == AF_INET6 && error && error->error == EAFNOSUPPORT) continue;
    RETURN_IF_ERROR(status);
  }
  return objects;
}

MessageBuilder AddressMessage(uint16_t type, uint16_t flags,
                              const Address& address) {
  MessageBuilder message(type, flags);
  ifaddrmsg header{};
  header.ifa_family = AddressFamily(address.address.family());
  header.ifa_prefixlen = static_cast<uint8_t>(address.prefix_length);
  header.ifa_scope = address.scope;
  header.ifa_index = static_cast<uint32_t>(address.link);
  message.PutHeader(header);
  message.PutAddress(IFA_LOCAL, address.address);
  message.PutAddress(IFA_ADDRESS, address.address);
  return message;
}

std::string Named(const Address& address) {
  return fmt::format("address {}/{}", address.address.ToString(),
                     address.prefix_length);
}

// What the kernel answers where there is no route, or one that refuses: in this
// order none, unreachable, prohibit, blackhole, throw.
bool IsRefusal(int error) {
  return error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES ||
         error == EINVAL || error == EAGAIN;
}

uint8_t TypeOf(RouteKind kind) {
  switch (kind) {
    case RouteKind::kUnicast:
      break;
    case RouteKind::kBlackhole:
      return RTN_BLACKHOLE;
    case RouteKind::kUnreachable:
      return RTN_UNREACHABLE;
    case RouteKind::kProhibit:
      return RTN_PROHIBIT;
    case RouteKind::kThrow:
      return RTN_THROW;
  }
  return RTN_UNICAST;
}

MessageBuilder RouteMessage(uint16_t type, uint16_t flags, uint8_t scope,
                            const Route& route) {
  MessageBuilder message(type, flags);
  rtmsg header{};
  header.rtm_family = AddressFamily(route.destination.family());
  header.rtm_dst_len = static_cast<uint8_t>(route.destination.length());
  header.rtm_table = route.table < 256 ? static_cast<uint8_t>(route.table)
                                       : uint8_t{RT_TABLE_UNSPEC};
  header.rtm_protocol = route.protocol;
  header.rtm_scope = scope;
  header.rtm_type = TypeOf(route.kind);
  if (route.onlink) header.rtm_flags = RTNH_F_ONLINK;
  message.PutHeader(header);
  message.PutAddress(RTA_DST, route.destination.address());
  message.PutU32(RTA_TABLE, route.table);
  if (route.link != 0) {
    message.PutU32(RTA_OIF, static_cast<uint32_t>(route.link));
  }
  if (route.gateway.has_value()) {
    message.PutAddress(RTA_GATEWAY, *route.gateway);
  }
  if (route.source.has_value()) message.PutAddress(RTA_PREFSRC, *route.source);
  if (route.priority != 0) message.PutU32(RTA_PRIORITY, route.priority);
  return message;
}

std::string Named(const Route& route) {
  std::string text = fmt::format("route {}", route.destination.ToString());
  if (route.gateway.has_value()) {
    text += fmt::format(" via {}", route.gateway->ToString());
  }
  return text + fmt::format(" table {}", route.table);
}

MessageBuilder RuleMessage(uint16_t type, uint16_t flags, const Rule& rule) {
  MessageBuilder message(type, flags);
  fib_rule_hdr header{};
  header.family = AddressFamily(rule.family);
  header.table = rule.table < 256 ? static_cast<uint8_t>(rule.table)
                                  : uint8_t{RT_TABLE_UNSPEC};
  header.action = FR_ACT_TO_TBL;
  message.PutHeader(header);
  message.PutU32(FRA_PRIORITY, rule.priority);
  message.PutU32(FRA_FWMARK, rule.mark);
  message.PutU32(FRA_FWMASK, rule.mask);
  message.PutU32(FRA_TABLE, rule.table);
  message.PutU8(FRA_PROTOCOL, rule.protocol);
  return message;
}

std::string Named(const Rule& rule) {
  return fmt::format("IPv{} rule {}: fwmark {:#x}/{:#x} lookup {}",
                     rule.family == Family::kIpv4 ? 4 : 6, rule.priority,
                     rule.mark, rule.mask, rule.table);
}

}  // namespace

std::string_view ToString(RouteKind kind) {
  switch (kind) {
    case RouteKind::kUnicast:
      break;
    case RouteKind::kBlackhole:
      return "blackhole";
    case RouteKind::kUnreachable:
      return "unreachable";
    case RouteKind::kProhibit:
      return "prohibit";
    case RouteKind::kThrow:
      return "throw";
  }
  return "unicast";
}

Rtnetlink::Rtnetlink(Socket socket) : socket_(std::move(socket)) {}

absl::StatusOr<Rtnetlink> Rtnetlink::Open() {
  ASSIGN_OR_RETURN(Socket socket, Socket::Open(NETLINK_ROUTE));
  return Rtnetlink(std::move(socket));
}

absl::StatusOr<std::vector<Address>> Rtnetlink::ListAddresses() {
  return DumpBothFamilies<Address, ifaddrmsg>(socket_, RTM_GETADDR,
                                              "list addresses", ReadAddress);
}

absl::StatusOr<std::vector<Neighbour>> Rtnetlink::ListNeighbours() {
  return DumpBothFamilies<Neighbour, ndmsg>(socket_, RTM_GETNEIGH,
                                            "list neighbours", ReadNeighbour);
}

absl::StatusOr<std::vector<Route>> Rtnetlink::ListRoutes() {
  return DumpBothFamilies<Route, rtmsg>(socket_, RTM_GETROUTE, "list routes",
                                        ReadTableRoute);
}

absl::StatusOr<std::vector<Rule>> Rtnetlink::ListRules() {
  ASSIGN_OR_RETURN(const auto all, ListPolicyRules());
  std::vector<Rule> rules;
  for (const PolicyRule& rule : all) {
    if (rule.plain) rules.push_back(*rule.plain);
  }
  return rules;
}

absl::StatusOr<std::vector<PolicyRule>> Rtnetlink::ListPolicyRules() {
  return DumpBothFamilies<PolicyRule, fib_rule_hdr>(socket_, RTM_GETRULE,
                                                    "list rules", ReadRule);
}

absl::StatusOr<bool> Rtnetlink::ForwardingEverywhere(Family family) {
  const bool is_ipv4 = family == Family::kIpv4;
  MessageBuilder request(RTM_GETNETCONF, 0);
  request.PutHeader(netconfmsg{.ncm_family = AddressFamily(family)});
  request.PutU32(NETCONFA_IFINDEX, static_cast<uint32_t>(NETCONFA_IFINDEX_ALL));
  const std::string_view what = is_ipv4 ? "read net.ipv4.ip_forward"
                                        : "read net.ipv6.conf.all.forwarding";
  std::optional<bool> forwarding;
  const absl::Status status = socket_.Request(
      request, what, [&](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(const Netconf netconf, ReadNetconf(answer));
        forwarding = netconf.forwarding;
        return absl::OkStatus();
      });
  // A kernel that was started without IPv6 knows no such question.
  const auto error = KernelErrorOf(status);
  if (!is_ipv4 && error.has_value() && error->error == EOPNOTSUPP) return false;
  RETURN_IF_ERROR(status);
  if (!forwarding.has_value()) return Internal("{}: no answer", what);
  return *forwarding;
}

absl::StatusOr<Route> Rtnetlink::RouteTo(const IpAddress& destination) {
  MessageBuilder request(RTM_GETROUTE, 0);
  rtmsg header{};
  header.rtm_family = AddressFamily(destination.family());
  header.rtm_dst_len = static_cast<uint8_t>(destination.bits());
  // IPv6 tells the table always, and refuses to be asked (strict checking).
  if (destination.is_ipv4()) header.rtm_flags = RTM_F_LOOKUP_TABLE;
  request.PutHeader(header);
  request.PutAddress(RTA_DST, destination);
  const std::string what = fmt::format("route to {}", destination.ToString());
  std::optional<Route> route;
  bool learned = false;
  absl::Status status = socket_.Request(
      request, what, [&](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(route, ReadAnyRoute(answer));
        ASSIGN_OR_RETURN(const auto told, ReadLearnedMtu(answer));
        learned = told.has_value();
        return absl::OkStatus();
      });
  if (status.ok() && learned) {  // the route as it is in its table
    MessageBuilder again(RTM_GETROUTE, 0);
    header.rtm_flags |= RTM_F_FIB_MATCH;
    again.PutHeader(header);
    again.PutAddress(RTA_DST, destination);
    status = socket_.Request(
        again, what, [&](const MessageView& answer) -> absl::Status {
          ASSIGN_OR_RETURN(const Route match, ReadAnyRoute(answer));
          route->mtu = match.mtu;
          return absl::OkStatus();
        });
  }
  const auto error = KernelErrorOf(status);
  if (error && IsRefusal(error->error)) {
    return absl::NotFoundError(status.message());
  }
  RETURN_IF_ERROR(status);
  if (!route.has_value()) return Internal("{}: no answer", what);
  return *route;
}

absl::StatusOr<Route> Rtnetlink::Match(const RouteQuestion& question) {
  const IpAddress& destination = question.destination;
  MessageBuilder request(RTM_GETROUTE, 0);
  rtmsg header{};
  header.rtm_family = AddressFamily(destination.family());
  header.rtm_dst_len = static_cast<uint8_t>(destination.bits());
  header.rtm_flags = RTM_F_FIB_MATCH;
  if (destination.is_ipv4()) header.rtm_flags |= RTM_F_LOOKUP_TABLE;
  if (question.source) {
    header.rtm_src_len = static_cast<uint8_t>(question.source->bits());
  }
  request.PutHeader(header);
  request.PutAddress(RTA_DST, destination);
  if (question.source) request.PutAddress(RTA_SRC, *question.source);
  if (question.in != 0) {
    request.PutU32(RTA_IIF, static_cast<uint32_t>(question.in));
  }
  const std::string what = fmt::format("route to {}", destination.ToString());
  std::optional<Route> route;
  const absl::Status status = socket_.Request(
      request, what, [&](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(route, ReadAnyRoute(answer));
        return absl::OkStatus();
      });
  const auto error = KernelErrorOf(status);
  if (error && IsRefusal(error->error)) {
    return absl::NotFoundError(status.message());
  }
  RETURN_IF_ERROR(status);
  if (!route) return Internal("{}: no answer", what);
  // IPv6 gives a route that refuses as an answer.
  if (route->kind != RouteKind::kUnicast) {
    return absl::NotFoundError(fmt::format("{}: {} {}", what,
                                           ToString(route->kind),
                                           route->destination.ToString()));
  }
  return *route;
}

absl::StatusOr<std::optional<LearnedMtu>> Rtnetlink::LearnedMtuTo(
    const IpAddress& destination) {
  MessageBuilder request(RTM_GETROUTE, 0);
  rtmsg header{};
  header.rtm_family = AddressFamily(destination.family());
  header.rtm_dst_len = static_cast<uint8_t>(destination.bits());
  request.PutHeader(header);
  request.PutAddress(RTA_DST, destination);
  std::optional<LearnedMtu> learned;
  RETURN_IF_ERROR(
      socket_.Request(request, fmt::format("way to {}", destination.ToString()),
                      [&](const MessageView& answer) -> absl::Status {
                        ASSIGN_OR_RETURN(learned, ReadLearnedMtu(answer));
                        return absl::OkStatus();
                      }));
  return learned;
}

absl::Status Rtnetlink::AddAddress(const Address& address) {
  MessageBuilder message =
      AddressMessage(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, address);
  message.PutU32(IFA_FLAGS, address.flags);
  message.PutU8(IFA_PROTO, kRouteProtocol);
  return OnLink(address.link,
                socket_.Transact(message, "add " + Named(address)));
}

absl::Status Rtnetlink::RemoveAddress(const Address& address) {
  MessageBuilder message = AddressMessage(RTM_DELADDR, 0, address);
  return OnLink(address.link,
                Unless({EADDRNOTAVAIL, ENODEV},
                       socket_.Transact(message, "remove " + Named(address))));
}

absl::Status Rtnetlink::ReplaceRoute(const Route& route) {
  const bool direct =
      route.destination.family() == Family::kIpv4 && !route.gateway.has_value();
  MessageBuilder message =
      RouteMessage(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
                   direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE, route);
  if (route.mtu != 0) {
    const size_t metrics = message.BeginNest(RTA_METRICS);
    message.PutU32(RTAX_MTU, route.mtu);
    if (route.destination.family() == Family::kIpv6) {
      message.PutU32(RTAX_LOCK, 1 << RTAX_MTU);
    }
    message.EndNest(metrics);
  }
  return OnLink(route.link, socket_.Transact(message, "set " + Named(route)));
}

absl::Status Rtnetlink::RemoveRoute(const Route& route) {
  // RT_SCOPE_NOWHERE matches every scope. To the kernel a metric of 0 matches
  // every metric, lowest first; the protocol keeps it to one owner's routes.
  MessageBuilder message =
      RouteMessage(RTM_DELROUTE, 0, RT_SCOPE_NOWHERE, route);
  return OnLink(route.link,
                Unless({ESRCH, ENODEV},
                       socket_.Transact(message, "remove " + Named(route))));
}

absl::Status Rtnetlink::AddRule(const Rule& rule) {
  MessageBuilder message =
      RuleMessage(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
  return Unless({EEXIST}, socket_.Transact(message, "add " + Named(rule)));
}

absl::Status Rtnetlink::RemoveRule(const Rule& rule) {
  MessageBuilder message = RuleMessage(RTM_DELRULE, 0, rule);
  return Unless({ENOENT}, socket_.Transact(message, "remove " + Named(rule)));
}

}  // namespace edged::netlink
