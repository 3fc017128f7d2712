#include "common/unique_fd.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <utility>

namespace edged {
namespace {

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

int OpenOne() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

TEST_CASE("unique_fd: closes what it owns", "[unique_fd]") {
  int number = -1;
  {
    const UniqueFd fd(OpenOne());
    number = fd.get();
    REQUIRE(IsOpen(number));
    CHECK(static_cast<bool>(fd));
  }
  CHECK_FALSE(IsOpen(number));
  CHECK_FALSE(static_cast<bool>(UniqueFd()));
}

TEST_CASE("unique_fd: moves and releases", "[unique_fd]") {
  UniqueFd first(OpenOne());
  const int one = first.get();
  UniqueFd second(std::move(first));
  CHECK(second.get() == one);

  UniqueFd third(OpenOne());
  const int three = third.get();
  third = std::move(second);
  CHECK_FALSE(IsOpen(three));
  CHECK(third.get() == one);
  CHECK(IsOpen(one));

  auto& same = third;
  third = std::move(same);
  CHECK(IsOpen(one));

  CHECK(third.release() == one);
  CHECK(IsOpen(one));
  third.reset(one);
  third.reset();
  CHECK_FALSE(IsOpen(one));
}

}  // namespace
}  // namespace edged
