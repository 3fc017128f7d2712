#include "clusteragent/source/source_reader.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <latch>
#include <optional>

#include "tests/clusteragent/edge/loop_runner.h"

namespace edged::agent {
namespace {

// Every snapshot has the number of the read as its error. The first takes until
// it is told to end.
class SlowSource final : public Source {
 public:
  Snapshot Read() override {
    const int read = ++reads;
    if (read == 1) let_go.wait();
    return {.errors = {std::to_string(read)}};
  }

  std::atomic<int> reads = 0;
  std::latch let_go{1};
};

TEST_CASE("source_reader: the loop goes on while a source is read",
          "[source_reader]") {
  LoopRunner runner;
  SlowSource source;
  std::string taken;
  const auto loop_thread = std::this_thread::get_id();
  SourceReader reader(runner.loop(), source, [&](Snapshot snapshot) {
    CHECK(std::this_thread::get_id() == loop_thread);
    taken += snapshot.errors.at(0) + ";";
  });
  reader.ReadSoon();
  REQUIRE(runner.Until([&] { return source.reads == 1; }));
  // What comes while it reads may be missed by it: once more, whatever came.
  for (int i = 0; i < 10; ++i) reader.ReadSoon();
  runner.For(std::chrono::milliseconds(20));
  CHECK(taken.empty());
  source.let_go.count_down();
  REQUIRE(runner.Until([&] { return taken == "1;2;"; }));
  runner.For(std::chrono::milliseconds(20));
  CHECK(taken == "1;2;");
}

TEST_CASE("source_reader: nothing is taken when it is gone",
          "[source_reader]") {
  LoopRunner runner;
  SlowSource source;
  source.let_go.count_down();
  int taken = 0;
  {
    SourceReader reader(runner.loop(), source, [&](Snapshot) { ++taken; });
    reader.ReadSoon();
    while (source.reads == 0) std::this_thread::yield();
  }
  runner.For(std::chrono::milliseconds(20));
  CHECK(taken == 0);
}

}  // namespace
}  // namespace edged::agent
