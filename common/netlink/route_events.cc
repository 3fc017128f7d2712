#include "common/netlink/route_events.h"

#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <poll.h>

#include <chrono>

#include "common/status.h"

namespace edged::netlink {
namespace {

constexpr uint32_t kGroups[] = {
    RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR,  RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,   RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV6_RULE,  RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF};

// A read ends after this many datagrams, so that a storm of events cannot keep
// the loop thread; the descriptor stays readable.
constexpr int kMostDatagrams = 256;

std::string Describe(const Link& link) {
  return fmt::format("link {} ({})", link.name, link.index);
}

std::string Describe(const Address& address) {
  return fmt::format("address {}/{} on link {}", address.address.ToString(),
                     address.prefix_length, address.link);
}

std::string Describe(const Route& route) {
  const std::string kind = route.kind == RouteKind::kUnicast
                               ? ""
                               : fmt::format("{} ", ToString(route.kind));
  return fmt::format("{}route {} table {} protocol {}", kind,
                     route.destination.ToString(), route.table, route.protocol);
}

std::string Describe(const PolicyRule& rule) {
  return fmt::format("rule {}: {} protocol {}", rule.priority, rule.text,
                     rule.protocol);
}

std::string Describe(const Netconf& netconf) {
  std::string text = fmt::format("settings of link {}", netconf.link);
  if (netconf.link == NETCONFA_IFINDEX_ALL) text = "settings of all links";
  if (netconf.link == NETCONFA_IFINDEX_DEFAULT) text = "settings of new links";
  if (netconf.family == Family::kIpv6) text = "IPv6 " + text;
  if (netconf.forwarding.has_value()) {
    text += fmt::format(" forwarding {}", *netconf.forwarding ? 1 : 0);
  }
  if (netconf.rp_filter.has_value()) {
    text += fmt::format(" rp_filter {}", *netconf.rp_filter);
  }
  return text;
}

// The event around what a reader returned: an object or an optional one.
template <typename Object>
absl::StatusOr<std::optional<RouteEvent>> Event(bool removed, uint32_t port,
                                                absl::StatusOr<Object> object) {
  if (!object.ok()) return object.status();
  return RouteEvent{removed, port, *std::move(object)};
}

template <typename Object>
absl::StatusOr<std::optional<RouteEvent>> Event(
    bool removed, uint32_t port, absl::StatusOr<std::optional<Object>> object) {
  if (!object.ok()) return object.status();
  if (!object->has_value()) return std::nullopt;
  return RouteEvent{removed, port, **std::move(object)};
}

}  // namespace

std::string DescribeEvent(const RouteEvent& event) {
  return std::visit(
      [&event](const auto& object) {
        return (event.removed ? "removed: " : "") + Describe(object);
      },
      event.object);
}

absl::StatusOr<std::optional<RouteEvent>> ReadRouteEvent(
    const MessageView& message) {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return Event(message.type == RTM_DELLINK, message.port,
                   ReadLink(message));
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return Event(message.type == RTM_DELADDR, message.port,
                   ReadAddress(message));
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return Event(message.type == RTM_DELROUTE, message.port,
                   ReadTableRoute(message));
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return Event(message.type == RTM_DELRULE, message.port,
                   ReadRule(message));
    case RTM_NEWNETCONF:
    case RTM_DELNETCONF:
      return Event(message.type == RTM_DELNETCONF, message.port,
                   ReadNetconf(message));
  }
  return std::nullopt;
}

RouteEvents::RouteEvents(Socket socket) : socket_(std::move(socket)) {}

absl::StatusOr<RouteEvents> RouteEvents::Open() {
  ASSIGN_OR_RETURN(Socket socket, Socket::Open(NETLINK_ROUTE));
  for (const uint32_t group : kGroups) RETURN_IF_ERROR(socket.Join(group));
  return RouteEvents(std::move(socket));
}

absl::Status RouteEvents::Read(
    const std::function<void(const RouteEvent&)>& consume) {
  for (int i = 0; i < kMostDatagrams; ++i) {
    pollfd entry{fd(), POLLIN, 0};
    if (::poll(&entry, 1, 0) <= 0) return absl::OkStatus();
    RETURN_IF_ERROR(socket_.Receive(
        std::chrono::milliseconds(0),
        [&consume](const MessageView& message) -> absl::Status {
          ASSIGN_OR_RETURN(const auto event, ReadRouteEvent(message));
          if (event.has_value()) consume(*event);
          return absl::OkStatus();
        }));
  }
  return absl::OkStatus();
}

}  // namespace edged::netlink
