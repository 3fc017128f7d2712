#include "clusteragent/state_keeper.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

// A disk that can be full.
struct Disk {
  std::function<absl::Status()> Save(const std::string& what) {
    return [this, what] {
      tries += what + " ";
      if (full) return absl::ResourceExhaustedError("No space left on device");
      content += what + " ";
      return absl::OkStatus();
    };
  }

  bool full = false;
  std::string tries;
  std::string content;
};

TEST_CASE("state_keeper: what can be saved is saved at once, once",
          "[state_keeper]") {
  VirtualLoop loop;
  StateKeeper keeper(loop);
  Disk disk;
  keeper.Keep("a", disk.Save("a1"));
  keeper.Keep("a", disk.Save("a2"));
  loop.Advance(std::chrono::minutes(1));
  CHECK(disk.tries == "a1 a2 ");
  CHECK(loop.timers() == 0);
}

TEST_CASE("state_keeper: what the disk refuses is saved when it does not",
          "[state_keeper]") {
  VirtualLoop loop;
  StateKeeper keeper(loop);
  Disk disk;
  disk.full = true;
  keeper.Keep("a", disk.Save("a1"));
  keeper.Keep("b", absl::ResourceExhaustedError("full"), disk.Save("b1"));
  keeper.Keep("a", disk.Save("a2"));
  CHECK_FALSE(keeper.IsDurable("a"));
  CHECK_FALSE(keeper.IsDurable("b"));
  CHECK(keeper.IsDurable("c"));
  CHECK(disk.tries == "a1 a2 ");
  loop.Advance(std::chrono::seconds(2));
  CHECK(disk.tries == "a1 a2 a2 b1 ");
  disk.full = false;
  loop.Advance(std::chrono::seconds(2));
  CHECK(disk.content == "a2 b1 ");
  CHECK(keeper.IsDurable("a"));
  loop.Advance(std::chrono::minutes(1));
  CHECK(disk.content == "a2 b1 ");
  CHECK(loop.timers() == 0);
}

TEST_CASE("state_keeper: what others save is only heard of", "[state_keeper]") {
  VirtualLoop loop;
  StateKeeper keeper(loop);
  Disk disk;
  disk.full = true;
  keeper.Hear("s", absl::ResourceExhaustedError("full"));
  CHECK_FALSE(keeper.IsDurable("s"));
  CHECK(loop.timers() == 0);
  keeper.Keep("a", disk.Save("a1"));
  disk.full = false;
  loop.Advance(std::chrono::seconds(2));
  CHECK(disk.content == "a1 ");
  CHECK_FALSE(keeper.IsDurable("s"));  // until it is heard to be
  CHECK(loop.timers() == 0);
  keeper.Hear("s", absl::OkStatus());
  CHECK(keeper.IsDurable("s"));
}

}  // namespace
}  // namespace edged::agent
