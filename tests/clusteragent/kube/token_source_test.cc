#include "clusteragent/kube/token_source.h"

#include <catch2/catch.hpp>

#include "common/files.h"
#include "common/status.h"
#include "tests/common/temporary_folder.h"

namespace edged::kube {
namespace {

TokenSource::TimePoint At(int seconds) {
  return TokenSource::TimePoint(std::chrono::seconds(seconds));
}

TEST_CASE("token_source: follows the file", "[token_source]") {
  TemporaryFolder folder;
  const std::string path = folder / "token";
  TokenSource source(Secret(), path);
  CHECK(absl::IsFailedPrecondition(source.Token(At(0)).status()));
  REQUIRE(WriteFileAtomically(path, "one\n").ok());
  CHECK(source.Token(At(0)).value() == Secret("one"));
  REQUIRE(WriteFileAtomically(path, "two").ok());
  CHECK(source.Token(At(1)).value() == Secret("two"));
  REQUIRE(RemoveFile(path).ok());
  CHECK(source.Token(At(2)).value() == Secret("two"));
  CHECK(source.Renew());
  CHECK(source.Token(At(3)).value() == Secret("two"));
}

TEST_CASE("token_source: one that was given stays", "[token_source]") {
  TokenSource source(Secret("x"), "");
  CHECK(source.Token(At(0)).value() == Secret("x"));
  CHECK_FALSE(source.Renew());
  CHECK(TokenSource(Secret(), "").Token(At(0)).value().empty());
}

}  // namespace
}  // namespace edged::kube
