#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "common/files.h"
#include "edged/state_owner.h"
#include "tests/common/temporary_folder.h"

namespace edged::edge {
namespace {

constexpr uid_t kUser = 61'234;

TEST_CASE("state_owner: what root writes belongs to the folder's owner",
          "[state_owner]") {
  const TemporaryFolder folder;
  REQUIRE(chown(folder.path().c_str(), kUser, kUser) == 0);
  {
    const auto owner = ActAsOwner::Of(folder.path());
    REQUIRE(owner.ok());
    CHECK(WriteFileAtomically(folder / "join.yaml", "key").ok());
  }
  CHECK(geteuid() == 0);
  CHECK(getegid() == 0);
  struct stat found;
  REQUIRE(stat((folder / "join.yaml").c_str(), &found) == 0);
  CHECK(found.st_uid == kUser);
  CHECK(found.st_gid == kUser);
  CHECK((found.st_mode & 0777) == 0600);
}

TEST_CASE("state_owner: a link to root's files shows nothing",
          "[state_owner]") {
  const TemporaryFolder secrets;
  REQUIRE(WriteFileAtomically(secrets / "shadow", "root's own").ok());
  const TemporaryFolder folder;
  REQUIRE(symlink((secrets / "shadow").c_str(),
                  (folder / "used-tokens").c_str()) == 0);
  REQUIRE(chown(folder.path().c_str(), kUser, kUser) == 0);
  const auto owner = ActAsOwner::Of(folder.path());
  REQUIRE(owner.ok());
  CHECK(absl::IsPermissionDenied(ReadFile(folder / "used-tokens").status()));
}

TEST_CASE("state_owner: nothing changes in root's folder or without one",
          "[state_owner]") {
  const TemporaryFolder folder;
  for (const std::string& path : {folder.path(), folder / "missing"}) {
    const auto owner = ActAsOwner::Of(path);
    REQUIRE(owner.ok());
    CHECK(geteuid() == 0);
  }
}

}  // namespace
}  // namespace edged::edge
