#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace edged::edge {

// While it lives, a process of root acts as the owner of `folder`, in no group
// but the folder's: the daemon runs as a user of its own and must be able to
// read what `edged join` writes, and a link in that user's folder leads root
// nowhere. For others, and while there is no such folder, nothing changes.
class ActAsOwner {
 public:
  static absl::StatusOr<ActAsOwner> Of(const std::string& folder);

  ActAsOwner(ActAsOwner&& other) noexcept;
  ActAsOwner& operator=(ActAsOwner&&) = delete;
  ~ActAsOwner();

 private:
  ActAsOwner() = default;

  // Of root, to come back to; unset: nothing has changed.
  std::optional<std::vector<gid_t>> groups_;
};

}  // namespace edged::edge
