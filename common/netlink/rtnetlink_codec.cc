#include "common/netlink/rtnetlink_codec.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

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

// Whether what the kernel remembers of the way to one destination is forgotten
// some time: what ICMP errors told.
bool Expires(std::span<const uint8_t> cache_info) {
  rta_cacheinfo info{};
  if (cache_info.size() < sizeof info) return false;
  std::memcpy(&info, cache_info.data(), sizeof info);
  return info.rta_expires != 0;
}

// Clears `plain` when the attribute makes the rule one that Rule cannot say.
absl::Status ReadRuleAttribute(const Attribute& attribute, Rule& rule,
                               bool& plain) {
  switch (attribute.type) {
    case FRA_PRIORITY: {
      ASSIGN_OR_RETURN(rule.priority, attribute.U32());
      break;
    }
    case FRA_FWMARK: {
      ASSIGN_OR_RETURN(rule.mark, attribute.U32());
      break;
    }
    case FRA_FWMASK: {
      ASSIGN_OR_RETURN(rule.mask, attribute.U32());
      break;
    }
    case FRA_TABLE: {
      ASSIGN_OR_RETURN(rule.table, attribute.U32());
      break;
    }
    case FRA_PROTOCOL: {
      ASSIGN_OR_RETURN(rule.protocol, attribute.U8());
      break;
    }
    case FRA_SUPPRESS_PREFIXLEN: {  // always there; -1 means off
      ASSIGN_OR_RETURN(const uint32_t length, attribute.U32());
      plain = plain && length == UINT32_MAX;
      break;
    }
    case FRA_PAD:
      break;
    default:
      plain = false;
  }
  return absl::OkStatus();
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

absl::StatusOr<Route> ReadAnyRoute(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<rtmsg>());
  ASSIGN_OR_RETURN(const Family family, FamilyOf(header.rtm_family));
  Route route;
  // The default route comes without RTA_DST.
  route.destination = IpPrefix(AnyAddress(family), header.rtm_dst_len);
  route.table = header.rtm_table;
  route.protocol = header.rtm_protocol;
  bool learned = false;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header), [&](const Attribute& attribute) {
        if (attribute.type == RTA_CACHEINFO) {
          learned = (header.rtm_flags & RTM_F_CLONED) != 0 &&
                    Expires(attribute.payload);
        }
        return ReadRouteAttribute(attribute, family, header.rtm_dst_len, route);
      }));
  if (learned) route.mtu = 0;
  return route;
}

absl::StatusOr<std::optional<Route>> ReadUnicastRoute(
    const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<rtmsg>());
  if (header.rtm_type != RTN_UNICAST ||
      (header.rtm_flags & RTM_F_CLONED) != 0) {
    return std::nullopt;
  }
  return ReadAnyRoute(message);
}

absl::StatusOr<std::optional<Rule>> ReadRule(const MessageView& message) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<fib_rule_hdr>());
  ASSIGN_OR_RETURN(const Family family, FamilyOf(header.family));
  Rule rule;
  rule.family = family;
  rule.table = header.table;
  rule.protocol = RTPROT_UNSPEC;
  bool plain = header.action == FR_ACT_TO_TBL && header.src_len == 0 &&
               header.dst_len == 0 && header.tos == 0 &&
               (header.flags & FIB_RULE_INVERT) == 0;
  RETURN_IF_ERROR(ForEachAttribute(
      message.AttributesAfter(sizeof header), [&](const Attribute& attribute) {
        return ReadRuleAttribute(attribute, rule, plain);
      }));
  if (!plain) return std::nullopt;
  return rule;
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
