#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/nftables/listing.h"
#include "common/nftables/ruleset.h"

// Chains as messages of nf_tables (NFTA_CHAIN_*).

namespace edged::nftables {

// Without its rules.
void PutChain(const Chain& chain, const std::string& table,
              netlink::MessageBuilder& message);

// One chain of a listing, without its rules.
struct ChainView {
  std::string table;
  std::string name;
  ListedChain chain;
};

// Reads an NFT_MSG_NEWCHAIN. A hook or type that `Hook` does not name is read
// as a value outside its enumeration, so that it equals none of ours.
absl::StatusOr<ChainView> ReadChain(const netlink::MessageView& message);

}  // namespace edged::nftables
