#include "clusteragent/edge/resolver.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "common/status.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

// The answer as text, once there is one.
struct Answer {
  std::optional<std::string> text;
  std::thread::id thread;

  Resolver::Done Take() {
    return [this](const absl::StatusOr<IpAddress>& address) {
      text = address.ok() ? address->ToString() : address.status().ToString();
      thread = std::this_thread::get_id();
    };
  }
};

TEST_CASE("resolver: an address is its own answer", "[resolver]") {
  LoopRunner runner;
  Resolver resolver(runner.loop(), AskSystem);
  Answer four;
  Answer six;
  resolver.Resolve("192.0.2.7", four.Take());
  resolver.Resolve("2001:db8::7", six.Take());
  CHECK_FALSE(four.text);  // not before the loop runs
  REQUIRE(runner.Until([&] { return six.text.has_value(); }));
  CHECK(four.text == "192.0.2.7");
  CHECK(six.text == "2001:db8::7");
}

TEST_CASE("resolver: asks the system, and answers on the loop thread",
          "[resolver]") {
  LoopRunner runner;
  Resolver resolver(runner.loop(), AskSystem);
  Answer answer;
  resolver.Resolve("localhost", answer.Take());
  REQUIRE(runner.Until([&] { return answer.text.has_value(); }));
  CHECK((answer.text == "127.0.0.1" || answer.text == "::1"));
  CHECK(answer.thread == std::this_thread::get_id());
}

TEST_CASE("resolver: a name that nobody knows is Unavailable", "[resolver]") {
  LoopRunner runner;
  Resolver resolver(runner.loop(), AskSystem);
  Answer answer;
  // RFC 6761: never in the DNS. No dot of the search list helps it.
  resolver.Resolve("no-such-host.invalid.", answer.Take());
  REQUIRE(runner.Until([&] { return answer.text.has_value(); },
                       std::chrono::seconds(60)));
  CHECK(answer.text->starts_with(
      "UNAVAILABLE: host name no-such-host.invalid.: "));
}

TEST_CASE("resolver: a name that is none is an error, not the end",
          "[resolver]") {
  LoopRunner runner;
  Resolver resolver(runner.loop(), AskSystem);
  Answer empty;
  Answer good;
  resolver.Resolve(std::string(300, 'a'), empty.Take());
  resolver.Resolve("localhost", good.Take());
  REQUIRE(runner.Until([&] { return good.text.has_value(); },
                       std::chrono::seconds(60)));
  CHECK(empty.text->starts_with("UNAVAILABLE: host name aaa"));
}

TEST_CASE("resolver: can go with questions waiting", "[resolver]") {
  LoopRunner runner;
  int answers = 0;
  {
    Resolver resolver(runner.loop(), AskSystem);
    for (int i = 0; i < 100; ++i) {
      resolver.Resolve("localhost", [&answers](const auto&) { ++answers; });
    }
  }
  runner.For(std::chrono::milliseconds(20));
  const int after = answers;
  runner.For(std::chrono::milliseconds(20));
  CHECK(answers == after);
}

// A resolver of the system whose name servers do not answer for names that
// begin with "hang" until it is told to. Threads may outlive the test's stack.
class HangingSystem {
 public:
  ~HangingSystem() { state_->released.count_down(); }

  Resolver::LookUp LookUp() const {
    return
        [state = state_](const std::string& host) -> absl::StatusOr<IpAddress> {
          ++state->asked;
          if (host.starts_with("hang")) state->released.wait();
          return IpAddress::Parse("192.0.2.1");
        };
  }
  int asked() const { return state_->asked; }

 private:
  struct State {
    std::latch released{1};
    std::atomic<int> asked = 0;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

TEST_CASE("resolver: a name that hangs holds up no other, nor the end",
          "[resolver]") {
  const HangingSystem system;
  LoopRunner runner;
  Answer hanging;
  Answer quick;
  {
    Resolver resolver(runner.loop(), system.LookUp());
    resolver.Resolve("hanging.example", hanging.Take());
    resolver.Resolve("quick.example", quick.Take());
    REQUIRE(runner.Until([&] { return quick.text.has_value(); }));
    CHECK(quick.text == "192.0.2.1");
  }
  CHECK_FALSE(hanging.text);
}

TEST_CASE("resolver: a name that hangs is Unavailable after a while",
          "[resolver]") {
  const HangingSystem system;
  VirtualLoop loop;
  Answer first;
  Answer second;
  {
    Resolver resolver(loop, system.LookUp());
    resolver.Resolve("hanging.example", first.Take());
    loop.Advance(std::chrono::seconds(6));
    resolver.Resolve("hanging.example", second.Take());
    loop.Advance(std::chrono::seconds(5));
    CHECK(first.text ==
          "UNAVAILABLE: host name hanging.example: no answer after 10 s");
    CHECK_FALSE(second.text);
    loop.Advance(std::chrono::seconds(5));
    CHECK(second.text == first.text);
    // It is asked once at a time.
    resolver.Resolve("hanging.example", second.Take());
  }
  loop.Advance(std::chrono::seconds(20));
  CHECK(system.asked() <= 1);
}

TEST_CASE("resolver: names that hang do not take threads without end",
          "[resolver]") {
  const HangingSystem system;
  LoopRunner runner;
  Resolver resolver(runner.loop(), system.LookUp());
  for (int i = 0; i < 100; ++i) {
    resolver.Resolve("hanging" + std::to_string(i), [](const auto&) {});
  }
  const auto asked = [&] { return system.asked(); };
  REQUIRE(runner.Until(
      [&] { return asked() == static_cast<int>(Resolver::kMostThreads); }));
  runner.For(std::chrono::milliseconds(50));
  CHECK(asked() == static_cast<int>(Resolver::kMostThreads));
}

}  // namespace
}  // namespace edged::agent
