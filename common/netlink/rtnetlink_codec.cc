#include "common/netlink/rtnetlink_codec.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "common/status.h"

namespace edged::netlink {
namespace {

absl::StatusOr<Family> FamilyOf(uint8_t address_family) {
  if (address_family == AF_INET) return Family::kIpv4;
  if (address_family == AF_INET6) return Family::kIpv6;
  return InvalidArgument("netlink: address family {} is not IP",
                         address_family);
}

IpAddress AnyAddress(Family family) {
  const uint8_t zeros[16] = {};
  return IpAddress::FromBytes(
      std::span(zeros, family == Family::kIpv4 ? 4 : 16));
}

// An address attribute whose size must be that of `family`.
absl::StatusOr<IpAddress> AddressOf(const Attribute& attribute, Family family) {
  ASSIGN_OR_RETURN(const IpAddress address, attribute.Address());
  if (address.family() != family) {
    return InvalidArgument("netlink attribute {} is of the wrong IP family",
                           attribute.type);
  }
  return address;
}

// IFLA_INET_CONF: 32-bit values in the order of IPV4_DEVCONF_*, from 1.
Ipv4Conf ReadInetConf(std::span<const uint8_t> values) {
  const auto value = [values](size_t id) {
    int32_t number = 0;
    if (values.size() >= id * sizeof number) {
      std::memcpy(&number, values.data() + (id - 1) * sizeof number,
                  sizeof number);
    }
    return number;
  };
  return {value(IPV4_DEVCONF_FORWARDING) != 0, value(IPV4_DEVCONF_RP_FILTER)};
}

// IFLA_INET6_CONF: 32-bit values in the order of DEVCONF_*, from 0.
Ipv6Conf ReadInet6Conf(std::span<const uint8_t> values) {
  constexpr size_t kForceForwarding = 59;  // newer than Debian 12's headers
  const auto value = [values](size_t id) -> std::optional<int32_t> {
    int32_t number = 0;
    if (values.size() < (id + 1) * sizeof number) return std::nullopt;
    std::memcpy(&number, values.data() + id * sizeof number, sizeof number);
    return number;
  };
  Ipv6Conf conf;
  conf.enabled = value(DEVCONF_DISABLE_IPV6).value_or(0) == 0;
  if (const auto force = value(kForceForwarding)) {
    conf.force_forwarding = *force != 0;
  }
  return conf;
}

absl::Status ReadInetSpec(const Attribute& spec, Link& link) {
  return ForEachAttribute(spec.payload, [&](const Attribute& attribute) {
    if (spec.type == AF_INET && attribute.type == IFLA_INET_CONF) {
      link.ipv4 = ReadInetConf(attribute.payload);
    } else if (spec.type == AF_INET6 && attribute.type == IFLA_INET6_CONF) {
      link.ipv6 = ReadInet6Conf(attribute.payload);
    }
    return absl::OkStatus();
  });
}

absl::Status ReadLinkAttribute(const Attribute& attribute, Link& link) {
  switch (attribute.type) {
    case IFLA_IFNAME:
      link.name = attribute.String();
      break;
    case IFLA_MTU: {
      ASSIGN_OR_RETURN(link.mtu, attribute.U32());
      break;
    }
    case IFLA_LINKINFO:
      return ForEachAttribute(attribute.payload, [&](const Attribute& info) {
        if (info.type == IFLA_INFO_KIND) link.kind = info.String();
        return absl::OkStatus();
      });
    case IFLA_AF_SPEC:
      return ForEachAttribute(attribute.payload, [&](const Attribute& spec) {
        return ReadInetSpec(spec, link);
      });
  }
  return absl::OkStatus();
}

absl::Status ReadRouteAttribute(const Attribute& attribute, Family family,
                                int length, Route& route) {
  switch (attribute.type) {
    case RTA_DST: {
      ASSIGN_OR_RETURN(const IpAddress address, AddressOf(attribute, family));
      route.destination = IpPrefix(address, length);
      break;
    }
    case RTA_OIF: {
      ASSIGN_OR_RETURN(route.link, attribute.U32());
      break;
    }
    case RTA_GATEWAY: {
      ASSIGN_OR_RETURN(route.gateway, AddressOf(attribute, family));
      break;
    }
    case RTA_VIA: {  // rtvia: a gateway of the other family
      const size_t skip = sizeof(rtvia);
      if (attribute.payload.size() < skip) break;
      const Attribute via{attribute.type, attribute.payload.subspan(skip)};
      ASSIGN_OR_RETURN(route.gateway, via.Address());
      break;
    }
    case RTA_PREFSRC: {
      ASSIGN_OR_RETURN(route.source, AddressOf(attribute, family));
      break;
    }
    case RTA_TABLE: {
      ASSIGN_OR_RETURN(route.table, attribute.U32());
      break;
    }
    case RTA_PRIORITY: {
      ASSIGN_OR_RETURN(route.priority, attribute.U32());
      break;
    }
    case RTA_METRICS:
      return ForEachAttribute(attribute.payload,
                              [&](const Attribute& metric) -> absl::Status {
                                if (metric.type != RTAX_MTU)
                                  return absl::OkStatus();
                                ASSIGN_OR_RETURN(route.mtu, metric.U32());
                                return absl::OkStatus();
                              });
  }
  return absl::OkStatus();
}

// How long the kernel remembers what ICMP errors told of the way to one
// destination; zero: nothing was told.
std::chrono::seconds ExpiryOf(std::span<const uint8_t> cache_info) {
  constexpr int kTicksPerSecond = 100;  // USER_HZ
  rta_cacheinfo info{};
  if (cache_info.size() < sizeof info) return {};
  std::memcpy(&info, cache_info.data(), sizeof info);
  const auto ticks = static_cast<int32_t>(info.rta_expires);
  if (ticks == 0) return {};
  return std::chrono::seconds(std::max(ticks / kTicksPerSecond, 1));
}

// What packets of a route's type become; unset for local, broadcast and so on.
std::optional<RouteKind> KindOf(uint8_t type) {
  switch (type) {
    case RTN_UNICAST:
      return RouteKind::kUnicast;
    case RTN_BLACKHOLE:
      return RouteKind::kBlackhole;
    case RTN_UNREACHABLE:
      return RouteKind::kUnreachable;
    case RTN_PROHIBIT:
      return RouteKind::kProhibit;
    case RTN_THROW:
      return RouteKind::kThrow;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::optional<Link>> ReadLink(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<ifinfomsg>());
  if (header.ifi_family != AF_UNSPEC) return std::nullopt;
  Link link;
  link.index = header.ifi_index;
  link.up = (header.ifi_flags & IFF_UP) != 0;
  link.loopback = (header.ifi_flags & IFF_LOOPBACK) != 0;
  link.multicast = (header.ifi_flags & IFF_MULTICAST) != 0;
  RETURN_IF_ERROR(ForEachAttribute(message.AttributesAfter(sizeof header),
                                   [&](const Attribute& attribute) {
                                     return ReadLinkAttribute(attribute, link);
                                   }));
  return link;
}

absl::StatusOr<Address> ReadAddress(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<ifaddrmsg>());
  ASSIGN_OR_RETURN(const Family family, FamilyOf(header.ifa_family));
  Address address;
  address.link = static_cast<int>(header.ifa_index);
  address.prefix_length = header.ifa_prefixlen;
  address.scope = header.ifa_scope;
  address.flags = header.ifa_flags;
  bool local = false;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header),
      [&](const Attribute& attribute) -> absl::Status {
        // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours.
        if (attribute.type == IFA_LOCAL ||
            (attribute.type == IFA_ADDRESS && !local)) {
          ASSIGN_OR_RETURN(address.address, AddressOf(attribute, family));
          local = attribute.type == IFA_LOCAL;
        } else if (attribute.type == IFA_FLAGS) {
          ASSIGN_OR_RETURN(address.flags, attribute.U32());
        }
        return absl::OkStatus();
      }));
  return address;
}

absl::StatusOr<std::optional<Neighbour>> ReadNeighbour(
    const MessageView& message) {
  constexpr uint16_t kThere =
      NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<ndmsg>());
  ASSIGN_OR_RETURN(const Family family, FamilyOf(header.ndm_family));
  Neighbour neighbour;
  neighbour.link = header.ndm_ifindex;
  neighbour.router = (header.ndm_flags & NTF_ROUTER) != 0;
  bool has_address = false;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header),
      [&](const Attribute& attribute) -> absl::Status {
        if (attribute.type == NDA_DST) {
          ASSIGN_OR_RETURN(neighbour.address, AddressOf(attribute, family));
          has_address = true;
        } else if (attribute.type == NDA_LLADDR) {
          neighbour.mac.assign(attribute.payload.begin(),
                               attribute.payload.end());
        }
        return absl::OkStatus();
      }));
  const bool is_there =
      (header.ndm_state & kThere) != 0 && has_address && !neighbour.mac.empty();
  if (!is_there) return std::nullopt;
  return neighbour;
}

absl::StatusOr<Route> ReadAnyRoute(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<rtmsg>());
  ASSIGN_OR_RETURN(const Family family, FamilyOf(header.rtm_family));
  Route route;
  // The default route comes without RTA_DST.
  route.destination = IpPrefix(AnyAddress(family), header.rtm_dst_len);
  route.table = header.rtm_table;
  route.protocol = header.rtm_protocol;
  route.onlink = (header.rtm_flags & RTNH_F_ONLINK) != 0;
  route.kind = KindOf(header.rtm_type).value_or(RouteKind::kUnicast);
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header), [&](const Attribute& attribute) {
        return ReadRouteAttribute(attribute, family, header.rtm_dst_len, route);
      }));
  ASSIGN_OR_RETURN(const auto learned, ReadLearnedMtu(message));
  if (learned) route.mtu = 0;
  return route;
}

absl::StatusOr<std::optional<LearnedMtu>> ReadLearnedMtu(
    const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<rtmsg>());
  if ((header.rtm_flags & RTM_F_CLONED) == 0) return std::nullopt;
  LearnedMtu learned;
  Route metrics;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header),
      [&](const Attribute& attribute) -> absl::Status {
        if (attribute.type == RTA_CACHEINFO) {
          learned.expires = ExpiryOf(attribute.payload);
        } else if (attribute.type == RTA_METRICS) {
          return ReadRouteAttribute(attribute, Family::kIpv4, 0, metrics);
        }
        return absl::OkStatus();
      }));
  if (learned.expires.count() == 0) return std::nullopt;
  learned.mtu = metrics.mtu;
  return learned;
}

absl::StatusOr<std::optional<Route>> ReadTableRoute(
    const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<rtmsg>());
  const auto kind = KindOf(header.rtm_type);
  if (!kind || (header.rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  return ReadAnyRoute(message);
}

absl::StatusOr<Netconf> ReadNetconf(const MessageView& message) {
  Netconf netconf;
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<netconfmsg>());
  ASSIGN_OR_RETURN(netconf.family, FamilyOf(header.ncm_family));
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof(netconfmsg)),
      [&](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NETCONFA_IFINDEX: {
            ASSIGN_OR_RETURN(netconf.link, attribute.U32());
            break;
          }
          case NETCONFA_FORWARDING: {
            ASSIGN_OR_RETURN(netconf.forwarding, attribute.U32());
            break;
          }
          case NETCONFA_RP_FILTER: {
            ASSIGN_OR_RETURN(netconf.rp_filter, attribute.U32());
            break;
          }
        }
        return absl::OkStatus();
      }));
  return netconf;
}

}  // namespace edged::netlink
