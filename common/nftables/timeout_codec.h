#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/nftables/ruleset.h"

// `ct timeout` objects as messages of nf_tables (NFTA_OBJ_*).

namespace edged::nftables {

void PutTimeout(const CtTimeout& timeout, const std::string& table,
                netlink::MessageBuilder& message);

// One object of a listing.
struct TimeoutView {
  std::string table;
  bool is_timeout = false;  // else an object of another type
  // With all its states; without any when it is of one family or of another
  // protocol than `CtTimeout` describes.
  CtTimeout timeout;
};

// Reads an NFT_MSG_NEWOBJ of any type.
absl::StatusOr<TimeoutView> ReadTimeout(const netlink::MessageView& message);

}  // namespace edged::nftables
