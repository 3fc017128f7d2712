#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "common/nftables/client.h"

namespace edged::edge {

// Table `inet edged-guard`, which nobody else can change or flush: it
// translates nothing, but keeps the kernel's NAT and connection tracking
// switched on when somebody flushes the ruleset, so that live connections go on
// until our own table is back. It lasts as long as this object, or the process.
class GuardTable {
 public:
  // PermissionDenied when another process holds such a table, or without
  // CAP_NET_ADMIN; Unimplemented when this kernel cannot own tables (before
  // 5.12).
  static absl::StatusOr<std::unique_ptr<GuardTable>> Hold();

 private:
  explicit GuardTable(std::unique_ptr<nftables::Client> client)
      : client_(std::move(client)) {}

  // Its socket is the owner, and is used for nothing else.
  std::unique_ptr<nftables::Client> client_;
};

}  // namespace edged::edge
