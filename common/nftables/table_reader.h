#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/socket.h"
#include "common/nftables/element_codec.h"
#include "common/nftables/expressions.h"
#include "common/nftables/listing.h"
#include "common/nftables/set_codec.h"

// Reads a table from the kernel, object kind by object kind. Each read is
// consistent in itself; the generation tells whether all are together.

namespace edged::nftables {

class TableReader {
 public:
  // `socket` outlives the reader.
  explicit TableReader(netlink::Socket& socket) : socket_(socket) {}

  // The number of the ruleset: every batch in this network namespace adds one.
  absl::StatusOr<uint32_t> Generation();

  // Everything once, `generation` left 0. NotFound when an object went away
  // meanwhile.
  absl::StatusOr<Listing> Read(const std::string& table);

  // Every entry once, in the kernel's order. Aborted when the set does not come
  // to rest.
  absl::Status ForEachEntryOf(
      const std::string& table, const std::string& set,
      const std::function<absl::Status(const Entry&)>& each);

 private:
  // In one pass: some entries can come twice, and others not at all.
  absl::Status DumpEntries(
      const std::string& table, const std::string& set,
      const std::function<absl::Status(const Entry&)>& each);
  absl::Status ReadTable(const std::string& table, Listing& listing);
  absl::Status ReadChains(const std::string& table, Listing& listing);
  absl::StatusOr<std::vector<SetView>> ReadSets(const std::string& table);
  absl::StatusOr<SetWithElements> ReadElements(const std::string& table,
                                               const SetView& view);
  absl::Status ReadTimeouts(const std::string& table, Listing& listing);
  absl::Status ReadRules(const std::string& table, const SetText& set_text,
                         Listing& listing);

  netlink::Socket& socket_;
};

}  // namespace edged::nftables
