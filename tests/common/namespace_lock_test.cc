#include "common/namespace_lock.h"

#include <catch2/catch.hpp>

#include "common/status.h"

namespace edged {
namespace {

TEST_CASE("namespace_lock: one process of a kind", "[namespace_lock]") {
  {
    const auto first = NamespaceLock::Take("test-of-lock");
    REQUIRE(first.ok());
    const auto second = NamespaceLock::Take("test-of-lock");
    CHECK(Message(second.status()) ==
          "another test-of-lock runs in this network namespace already");
    CHECK(absl::IsFailedPrecondition(second.status()));
    CHECK(NamespaceLock::Take("another-test-of-lock").ok());
  }
  CHECK(NamespaceLock::Take("test-of-lock").ok());
}

}  // namespace
}  // namespace edged
