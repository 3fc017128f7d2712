#include "clusteragent/controller/troubles.h"

#include <fmt/ranges.h>

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

TEST_CASE("troubles: what an operator must act on, and what passes",
          "[troubles]") {
  Troubles troubles;
  troubles.Hear("lease", absl::OkStatus());
  troubles.Hear("services in namespace a", absl::PermissionDeniedError("no a"));
  troubles.Hear("services in namespace b", absl::PermissionDeniedError("no b"));
  troubles.Hear("lease", absl::UnavailableError("away"));
  CHECK(fmt::format("{}", fmt::join(troubles.ForOperator(), "; ")) ==
        "no a; no b");
  CHECK(troubles.All().size() == 3);
  // One namespace says nothing of another.
  troubles.Hear("services in namespace b", absl::OkStatus());
  CHECK(fmt::format("{}", fmt::join(troubles.ForOperator(), "; ")) == "no a");
  // What was refused before is only away now.
  troubles.Hear("services in namespace a", absl::UnavailableError("away"));
  CHECK(troubles.ForOperator().empty());
  CHECK(troubles.Has("lease"));
}

}  // namespace
}  // namespace edged::agent
