#include "clusteragent/edge/resolver.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <thread>

#include "common/status.h"
#include "tests/clusteragent/edge/loop_runner.h"

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
  Resolver resolver(runner.loop());
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
  Resolver resolver(runner.loop());
  Answer answer;
  resolver.Resolve("localhost", answer.Take());
  REQUIRE(runner.Until([&] { return answer.text.has_value(); }));
  CHECK((answer.text == "127.0.0.1" || answer.text == "::1"));
  CHECK(answer.thread == std::this_thread::get_id());
}

TEST_CASE("resolver: a name that nobody knows is Unavailable", "[resolver]") {
  LoopRunner runner;
  Resolver resolver(runner.loop());
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
  Resolver resolver(runner.loop());
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
    Resolver resolver(runner.loop());
    for (int i = 0; i < 100; ++i) {
      resolver.Resolve("localhost", [&answers](const auto&) { ++answers; });
    }
  }
  runner.For(std::chrono::milliseconds(20));
  const int after = answers;
  runner.For(std::chrono::milliseconds(20));
  CHECK(answers == after);
}

}  // namespace
}  // namespace edged::agent
