#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nftables/listing.h"
#include "common/nftables/ruleset.h"
#include "common/nftables/transaction.h"

// nf_tables through netlink, one socket. Not thread-safe.

namespace edged::nftables {

class Client {
 public:
  // FailedPrecondition when this kernel has no nf_tables, PermissionDenied
  // without CAP_NET_ADMIN; the message says what to do.
  static absl::StatusOr<std::unique_ptr<Client>> Open();
  virtual ~Client() = default;

  // All or nothing. The error names the operation that the kernel refused
  // ("add element inet edged ports4 { ... }: File exists") and holds the
  // kernel's error (common/netlink/kernel_error.h). Unavailable when the answer
  // was lost: nobody knows then whether it was taken. In a concatenation the
  // kernel deletes whichever range holds the first key that is named (6.18), so
  // delete only what was listed.
  virtual absl::Status Apply(const Transaction& transaction) = 0;

  // The whole table, all elements included. Retried while others change the
  // ruleset, Aborted after three tries. `exists` is false when there is none.
  virtual absl::StatusOr<Listing> List(const std::string& table) = 0;

  // Every element of one set once, in the kernel's order, without keeping them.
  // While others write some can be missing. Aborted when it does not come to
  // rest.
  virtual absl::Status ForEachElement(
      const std::string& table, const Set& set,
      const std::function<void(const Element&)>& each) = 0;

  // Those of `keys` (data ignored) that are there, with their data: 2 us for
  // each. Where hundreds are not there, and in interval sets of one value, the
  // set is read whole, and some can be missing while others write.
  virtual absl::StatusOr<std::vector<Element>> GetElements(
      const std::string& table, const Set& set,
      const std::vector<Element>& keys) = 0;

  // The number of the ruleset: every batch in this network namespace, whoever
  // sends it, adds one.
  virtual absl::StatusOr<uint32_t> Generation() = 0;

  // The sender of our changes as events.h names it; 0: there are no events.
  virtual uint32_t port() const { return 0; }
};

}  // namespace edged::nftables
