#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/nftables/data_type.h"
#include "common/nftables/ruleset.h"

// Sets as messages of nf_tables (NFTA_SET_*), named and anonymous ones.

namespace edged::nftables {

// What the kernel is told about a set.
struct SetLayout {
  std::string name;
  uint32_t id = 0;     // how others refer to it within its batch
  uint32_t flags = 0;  // NFT_SET_*
  DataType key;
  DataType data;                // maps
  std::vector<uint32_t> parts;  // sizes of a concatenation that takes ranges
  uint32_t size = 0;            // how many elements it holds for ever; 0: any
  bool counter = false;
};

// InvalidArgument for ranges over a value that is kept in host order: the
// kernel compares bytes from the left.
absl::StatusOr<SetLayout> LayoutOf(const Set& set);

void PutSet(const SetLayout& layout, const std::string& table,
            netlink::MessageBuilder& message);

// One set of a listing.
struct SetView {
  std::string table;
  // Its key is empty when it is of a kind that `Set` cannot describe.
  Set set;
  bool anonymous = false;
};

// Reads an NFT_MSG_NEWSET.
absl::StatusOr<SetView> ReadSet(const netlink::MessageView& message);

}  // namespace edged::nftables
