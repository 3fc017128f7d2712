#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <vector>

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

TEST_CASE("state_owner: a link to what root's groups may read shows nothing",
          "[state_owner]") {
  const TemporaryFolder secrets;
  REQUIRE(chmod(secrets.path().c_str(), 0755) == 0);
  REQUIRE(WriteFileAtomically(secrets / "shadow", "root's own", 0640).ok());
  const std::vector<gid_t> groups = {0, 42};
  REQUIRE(setgroups(groups.size(), groups.data()) == 0);
  const TemporaryFolder folder;
  REQUIRE(chown(folder.path().c_str(), kUser, kUser) == 0);
  {
    const auto owner = ActAsOwner::Of(folder.path());
    REQUIRE(owner.ok());
    CHECK(absl::IsPermissionDenied(ReadFile(secrets / "shadow").status()));
  }
  CHECK(ReadFile(secrets / "shadow").ok());
  std::vector<gid_t> now(16);
  now.resize(static_cast<size_t>(getgroups(16, now.data())));
  CHECK(now == groups);
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
