#pragma once

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstdint>

#include "common/netlink/message.h"

namespace edged::nftables {

// A message of nf_tables (NFT_MSG_*) for tables of a family. It has room for
// a list of elements of the largest size and the names of its table and set.
inline netlink::MessageBuilder TableMessage(uint8_t type, uint16_t flags = 0,
                                            uint8_t family = NFPROTO_INET) {
  constexpr size_t kLimit = 68 * 1024;
  netlink::MessageBuilder message(NFNL_SUBSYS_NFTABLES << 8 | type, flags,
                                  kLimit);
  message.PutHeader(nfgenmsg{family, NFNETLINK_V0, 0});
  return message;
}

}  // namespace edged::nftables
