#include "common/nftables/program.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

namespace edged::nftables {

bool AnySet::anonymous() const { return (flags & NFT_SET_ANONYMOUS) != 0; }

std::string AnyTable::ToString() const {
  return fmt::format("table {} {}", FamilyName(family), name);
}

std::string FamilyName(uint8_t nfproto) {
  switch (nfproto) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_NETDEV:
      return "netdev";
    default:
      return fmt::format("family-{}", nfproto);
  }
}

}  // namespace edged::nftables
