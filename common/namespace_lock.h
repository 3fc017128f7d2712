#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "common/unique_fd.h"

namespace edged {

// Held by the one process of a kind in this network namespace: two that program
// the same table would undo each other for ever. An abstract Unix socket, so
// that it goes with the process and knows no folder.
class NamespaceLock {
 public:
  // FailedPrecondition when another process of this `kind` ("edged") runs here.
  static absl::StatusOr<NamespaceLock> Take(std::string_view kind);

 private:
  explicit NamespaceLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace edged
