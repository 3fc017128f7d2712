#include "common/event_loop.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "common/unique_fd.h"

namespace edged {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::unique_ptr<EventLoop> NewLoop() {
  auto loop = EventLoop::Create();
  REQUIRE(loop.ok());
  return *std::move(loop);
}

struct Pipe {
  Pipe() {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    reader.reset(fds[0]);
    writer.reset(fds[1]);
  }
  void Write(char letter) const {
    REQUIRE(write(writer.get(), &letter, 1) == 1);
  }
  char Read() const {
    char letter = 0;
    REQUIRE(read(reader.get(), &letter, 1) == 1);
    return letter;
  }
  UniqueFd reader;
  UniqueFd writer;
};

TEST_CASE("event_loop: makes posted calls in order, then stops",
          "[event_loop]") {
  const auto loop = NewLoop();
  std::string calls;
  loop->Post([&] { calls += "a"; });
  loop->Post([&] {
    calls += "b";
    loop->Post([&] { calls += "d"; });
    loop->Post([&] { loop->Stop(); });
  });
  loop->Post([&] { calls += "c"; });
  loop->Run();
  CHECK(calls == "abcd");
}

TEST_CASE("event_loop: makes what was posted before a stop, even before Run",
          "[event_loop]") {
  const auto loop = NewLoop();
  int calls = 0;
  for (int i = 0; i < 100; ++i) loop->Post([&] { ++calls; });
  loop->Stop();
  loop->Run();
  CHECK(calls == 100);
  loop->Post([&] { ++calls; });
  loop->Stop();
  loop->Run();  // it can run again
  CHECK(calls == 101);
}

TEST_CASE("event_loop: takes posts from other threads", "[event_loop]") {
  constexpr int kThreads = 4;
  constexpr int kPosts = 2000;
  const auto loop = NewLoop();
  const auto loop_thread = std::this_thread::get_id();
  std::vector<int> last(kThreads, -1);
  int calls = 0;
  bool in_order = true;
  bool on_loop_thread = true;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kPosts; ++i) {
        loop->Post([&, thread, i] {
          auto& before = last[static_cast<size_t>(thread)];
          in_order = in_order && before == i - 1;
          on_loop_thread =
              on_loop_thread && std::this_thread::get_id() == loop_thread;
          before = i;
          if (++calls == kThreads * kPosts) loop->Stop();
        });
      }
    });
  }
  loop->Run();
  for (std::thread& thread : threads) thread.join();
  CHECK(calls == kThreads * kPosts);
  CHECK(in_order);
  CHECK(on_loop_thread);
}

TEST_CASE("event_loop: looks after the rest between posted calls",
          "[event_loop]") {
  const auto loop = NewLoop();
  const Pipe pipe;
  std::string calls;
  REQUIRE(loop->Watch(pipe.reader.get(), EPOLLIN,
                      [&](uint32_t) { calls += pipe.Read(); })
              .ok());
  loop->After(milliseconds(1), [&] { calls += "t"; });
  pipe.Write('p');
  for (int i = 0; i < 20; ++i) {
    loop->Post([&] {
      std::this_thread::sleep_for(milliseconds(6));
      calls += ".";
    });
  }
  loop->Post([&] { loop->Stop(); });
  loop->Run();
  INFO(calls);
  CHECK(calls.find('p') < 3);
  CHECK(calls.find('t') < 4);
  CHECK(calls.size() == 22);
}

TEST_CASE("event_loop: is stopped from another thread while it waits",
          "[event_loop]") {
  const auto loop = NewLoop();
  std::thread stopper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    loop->Stop();
  });
  loop->Run();
  stopper.join();
}

TEST_CASE("event_loop: calls timers in the order of their time",
          "[event_loop]") {
  const auto loop = NewLoop();
  std::string calls;
  const auto start = steady_clock::now();
  loop->After(milliseconds(30), [&] { calls += "c"; });
  loop->After(milliseconds(10), [&] { calls += "a"; });
  loop->After(milliseconds(20), [&] { calls += "b"; });
  loop->After(milliseconds(-5), [&] { calls += "0"; });
  loop->After(milliseconds(40), [&] { loop->Stop(); });
  loop->Run();
  CHECK(calls == "0abc");
  CHECK(steady_clock::now() - start >= milliseconds(40));
}

TEST_CASE("event_loop: calls timers of one time in the order they were made",
          "[event_loop]") {
  const auto loop = NewLoop();
  std::string calls;
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    loop->After(milliseconds(0), [&calls, letter] { calls += letter; });
  }
  loop->After(milliseconds(5), [&] { loop->Stop(); });
  loop->Run();
  CHECK(calls == "abcdefghijklmnopqrstuvwxyz");
}

TEST_CASE("event_loop: repeats a timer until it is cancelled, by itself",
          "[event_loop]") {
  const auto loop = NewLoop();
  int calls = 0;
  EventLoop::TimerId timer = 0;
  timer = loop->Every(milliseconds(2), [&] {
    if (++calls == 5) {
      loop->Cancel(timer);
      loop->After(milliseconds(20), [&] { loop->Stop(); });
    }
  });
  CHECK(timer != 0);
  loop->Run();
  CHECK(calls == 5);
}

TEST_CASE("event_loop: does not make up for late calls of a timer",
          "[event_loop]") {
  constexpr auto kInterval = milliseconds(10);
  const auto loop = NewLoop();
  const auto start = steady_clock::now();
  int calls = 0;
  loop->Every(kInterval, [&] {
    ++calls;
    if (calls == 1) std::this_thread::sleep_for(10 * kInterval);
    if (calls == 4) loop->Stop();
  });
  loop->Run();
  // A busy machine leaves out more calls, never fewer.
  CHECK((steady_clock::now() - start) / kInterval - calls >= 7);
}

TEST_CASE("event_loop: does not call a timer that was cancelled when due",
          "[event_loop]") {
  const auto loop = NewLoop();
  std::string calls;
  EventLoop::TimerId second = 0;
  loop->After(milliseconds(1), [&] {
    calls += "a";
    loop->Cancel(second);
  });
  second = loop->After(milliseconds(1), [&] { calls += "b"; });
  std::this_thread::sleep_for(milliseconds(5));  // both are due at once
  loop->After(milliseconds(10), [&] { loop->Stop(); });
  loop->Cancel(0);
  loop->Cancel(123456);
  loop->Run();
  CHECK(calls == "a");
}

TEST_CASE("event_loop: lets a timer that calls itself starve nobody",
          "[event_loop]") {
  const auto loop = NewLoop();
  int spins = 0;
  std::function<void()> spin = [&] {
    ++spins;
    loop->After(milliseconds(0), spin);
  };
  spin();
  const Pipe pipe;
  pipe.Write('x');
  REQUIRE(
      loop->Watch(pipe.reader.get(), EPOLLIN, [&](uint32_t) { loop->Stop(); })
          .ok());
  loop->Run();
  CHECK(spins >= 1);
}

TEST_CASE("event_loop: calls when a descriptor is readable", "[event_loop]") {
  const auto loop = NewLoop();
  const Pipe pipe;
  std::string read;
  REQUIRE(loop->Watch(pipe.reader.get(), EPOLLIN,
                      [&](uint32_t events) {
                        CHECK((events & EPOLLIN) != 0);
                        read += pipe.Read();
                        if (read.size() == 3) loop->Stop();
                      })
              .ok());
  for (const char letter : {'a', 'b', 'c'}) {
    loop->Post([&pipe, letter] { pipe.Write(letter); });
  }
  loop->Run();
  CHECK(read == "abc");
  loop->Unwatch(pipe.reader.get());
}

TEST_CASE("event_loop: refuses to watch twice, or what is not open",
          "[event_loop]") {
  const auto loop = NewLoop();
  const Pipe pipe;
  const auto nothing = [](uint32_t) {};
  REQUIRE(loop->Watch(pipe.reader.get(), EPOLLIN, nothing).ok());
  CHECK(loop->Watch(pipe.reader.get(), EPOLLIN, nothing).code() ==
        absl::StatusCode::kAlreadyExists);
  loop->Unwatch(pipe.reader.get());
  loop->Unwatch(pipe.reader.get());
  CHECK(loop->Watch(pipe.reader.get(), EPOLLIN, nothing).ok());
  CHECK_FALSE(loop->Watch(-1, EPOLLIN, nothing).ok());
}

TEST_CASE("event_loop: lets a call unwatch itself and another that is ready",
          "[event_loop]") {
  const auto loop = NewLoop();
  const Pipe one;
  const Pipe two;
  one.Write('x');
  two.Write('x');
  int calls = 0;
  const std::string kept(100, 'k');  // what a destroyed closure would lose
  const auto ready = [&, kept](uint32_t) {
    ++calls;
    loop->Unwatch(one.reader.get());
    loop->Unwatch(two.reader.get());
    CHECK(kept == std::string(100, 'k'));
  };
  REQUIRE(loop->Watch(one.reader.get(), EPOLLIN, ready).ok());
  REQUIRE(loop->Watch(two.reader.get(), EPOLLIN, ready).ok());
  loop->After(milliseconds(10), [&] { loop->Stop(); });
  loop->Run();
  CHECK(calls == 1);
}

TEST_CASE("event_loop: gives no event to who got a closed one's number",
          "[event_loop]") {
  const auto loop = NewLoop();
  const Pipe first;
  Pipe second;
  const Pipe quiet;
  first.Write('x');
  second.Write('x');
  int wrong_calls = 0;
  // Whichever is called first gives the other's number to a quiet pipe.
  const auto replace = [&](int other) {
    loop->Unwatch(first.reader.get());
    loop->Unwatch(second.reader.get());
    REQUIRE(dup2(quiet.reader.get(), other) == other);
    REQUIRE(loop->Watch(other, EPOLLIN, [&](uint32_t) { ++wrong_calls; }).ok());
  };
  REQUIRE(loop->Watch(first.reader.get(), EPOLLIN,
                      [&](uint32_t) { replace(second.reader.get()); })
              .ok());
  REQUIRE(loop->Watch(second.reader.get(), EPOLLIN,
                      [&](uint32_t) { replace(first.reader.get()); })
              .ok());
  loop->After(milliseconds(10), [&] { loop->Stop(); });
  loop->Run();
  CHECK(wrong_calls == 0);
}

TEST_CASE("event_loop: delivers signals as calls", "[event_loop]") {
  const auto loop = NewLoop();
  std::string calls;
  REQUIRE(loop->OnSignal(SIGUSR1, [&] { calls += "1"; }).ok());
  REQUIRE(loop->OnSignal(SIGUSR2,
                         [&] {
                           calls += "2";
                           loop->Stop();
                         })
              .ok());
  CHECK_FALSE(loop->OnSignal(4711, [] {}).ok());
  raise(SIGUSR1);
  loop->After(milliseconds(5), [&] { raise(SIGUSR2); });
  loop->Run();
  CHECK(calls == "12");
}

TEST_CASE("event_loop: drops what is left when it is destroyed",
          "[event_loop]") {
  const auto alive = std::make_shared<int>(1);
  auto loop = NewLoop();
  const Pipe pipe;
  loop->Post([alive] {});
  loop->After(std::chrono::hours(1), [alive] {});
  loop->Every(std::chrono::hours(1), [alive] {});
  REQUIRE(loop->Watch(pipe.reader.get(), EPOLLIN, [alive](uint32_t) {}).ok());
  CHECK(alive.use_count() == 5);
  loop.reset();
  CHECK(alive.use_count() == 1);
}

}  // namespace
}  // namespace edged
