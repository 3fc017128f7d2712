#pragma once

#include "common/netlink/message.h"

namespace edged::nftables {

// Whether this entry of NFTA_RULE_EXPRESSIONS is an expression that we know,
// with attributes of the sizes that they have. libnftnl 1.2.4 ends the process
// on any other size ("nf_tables kernel ABI is broken"), and crashes on an
// expression without a name and a jump without a chain, so it gets no other to
// read.
bool HasItsShape(const netlink::Attribute& expression);

}  // namespace edged::nftables
