#include "edged/state_owner.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "common/status.h"

namespace edged::edge {

absl::StatusOr<ActAsOwner> ActAsOwner::Of(const std::string& folder) {
  struct stat found;
  if (geteuid() != 0 || stat(folder.c_str(), &found) != 0 ||
      found.st_uid == 0) {
    return ActAsOwner(false);
  }
  if (setegid(found.st_gid) != 0 || seteuid(found.st_uid) != 0) {
    const int error = errno;
    if (setegid(0) != 0) abort();
    return ErrnoStatus(error, fmt::format("act as the owner of {}", folder));
  }
  return ActAsOwner(true);
}

ActAsOwner::ActAsOwner(ActAsOwner&& other) noexcept
    : switched_(std::exchange(other.switched_, false)) {}

ActAsOwner::~ActAsOwner() {
  // Root may always come back; a process that cannot must not go on.
  if (switched_ && (seteuid(0) != 0 || setegid(0) != 0)) abort();
}

}  // namespace edged::edge
