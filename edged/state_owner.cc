#include "edged/state_owner.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>

#include "common/status.h"

namespace edged::edge {

namespace {

absl::StatusOr<std::vector<gid_t>> Groups() {
  std::vector<gid_t> groups(NGROUPS_MAX);
  const int count = getgroups(NGROUPS_MAX, groups.data());
  if (count < 0) return ErrnoStatus(errno, "groups");
  groups.resize(static_cast<size_t>(count));
  return groups;
}

// Root may always come back; a process that cannot must not go on.
void BecomeRoot(const std::vector<gid_t>& groups) {
  if (seteuid(0) != 0 || setegid(0) != 0 ||
      setgroups(groups.size(), groups.data()) != 0) {
    abort();
  }
}

}  // namespace

absl::StatusOr<ActAsOwner> ActAsOwner::Of(const std::string& folder) {
  struct stat found;
  ActAsOwner owner;
  if (geteuid() != 0 || stat(folder.c_str(), &found) != 0 ||
      found.st_uid == 0) {
    return owner;
  }
  ASSIGN_OR_RETURN(const std::vector<gid_t> groups, Groups());
  const std::string what = fmt::format("act as the owner of {}", folder);
  if (setgroups(0, nullptr) != 0) return ErrnoStatus(errno, what);
  if (setegid(found.st_gid) != 0 || seteuid(found.st_uid) != 0) {
    const int error = errno;
    BecomeRoot(groups);
    return ErrnoStatus(error, what);
  }
  owner.groups_ = groups;
  return owner;
}

ActAsOwner::ActAsOwner(ActAsOwner&& other) noexcept
    : groups_(std::exchange(other.groups_, std::nullopt)) {}

ActAsOwner::~ActAsOwner() {
  if (groups_) BecomeRoot(*groups_);
}

}  // namespace edged::edge
