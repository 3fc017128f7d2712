#include "clusteragent/core/uplink_names.h"

#include <linux/netfilter.h>

#include "common/nftables/values.h"

namespace edged::agent {
namespace {

using nftables::Field;
using nftables::Rule;

constexpr UplinkNames kIpv4Names{.family = Family::kIpv4,
                                 .nfproto = NFPROTO_IPV4,
                                 .address_type = nftables::Type::kIpv4Addr,
                                 .destination = Field::kIpDaddr,
                                 .icmp_type = Field::kIcmpType,
                                 .echo_request = 8,
                                 .links = "links",
                                 .targets = "targets4",
                                 .target_ranges = "target_ranges4",
                                 .edges = "edges4",
                                 .backends = "backends4",
                                 .backend_ranges = "backend_ranges4",
                                 .timeouts = "timeouts4",
                                 .timeout_ranges = "timeout_ranges4"};
constexpr UplinkNames kIpv6Names{.family = Family::kIpv6,
                                 .nfproto = NFPROTO_IPV6,
                                 .address_type = nftables::Type::kIpv6Addr,
                                 .destination = Field::kIp6Daddr,
                                 .icmp_type = Field::kIcmpv6Type,
                                 .echo_request = 128,
                                 .links = "links6",
                                 .targets = "targets6",
                                 .target_ranges = "target_ranges6",
                                 .edges = "edges6",
                                 .backends = "backends6",
                                 .backend_ranges = "backend_ranges6",
                                 .timeouts = "timeouts6",
                                 .timeout_ranges = "timeout_ranges6"};

}  // namespace

const UplinkNames& NamesOf(Family family) {
  return family == Family::kIpv4 ? kIpv4Names : kIpv6Names;
}

std::vector<Field> ListenerKey(Field destination) {
  return {destination, Field::kL4proto, Field::kThDport};
}

Rule ByVerdict(const UplinkNames& names, const std::string& map) {
  return {
      {kFromTunnel, nftables::VerdictMap{ListenerKey(names.destination), map}}};
}

nftables::Bytes ListenerBytes(const UplinkTarget& target, uint16_t port) {
  return nftables::Concat({nftables::ToBytes(target.address),
                           nftables::ToBytes(target.protocol),
                           nftables::PortBytes(port)});
}

std::vector<nftables::Type> ListenerTypes(const UplinkNames& names) {
  return {names.address_type, nftables::Type::kInetProto,
          nftables::Type::kInetService};
}

}  // namespace edged::agent
