#include "edged/service/relay.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/edged/service/http2_frames.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;

// A client, and gRPC's end of the relay between the two. The test's own thread
// runs the loop.
struct Relayed {
  Relayed() : pace(std::make_shared<ClientPace>()) {
    auto created = EventLoop::Create();
    REQUIRE(created.ok());
    loop = *std::move(created);
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                       ends.data()) == 0);
    client.reset(ends[0]);
    auto started = Relay::Start(
        *loop, UniqueFd(ends[1]), pace,
        [this](std::string_view what) { complaints.emplace_back(what); });
    REQUIRE(started.ok());
    grpc = *std::move(started);
  }

  void Run(milliseconds time = milliseconds(5)) {
    loop->After(time, [this] { loop->Stop(); });
    loop->Run();
  }

  std::shared_ptr<ClientPace> pace;
  std::unique_ptr<EventLoop> loop;
  UniqueFd client;
  UniqueFd grpc;
  std::vector<std::string> complaints;
};

// As much as goes at once; how much that was.
size_t Send(const UniqueFd& to, const std::string& bytes) {
  const ssize_t sent =
      send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent < 0 ? 0 : static_cast<size_t>(sent);
}

// Whatever is there, and whether it is the end.
std::pair<std::string, bool> Receive(const UniqueFd& from) {
  std::string all;
  std::array<char, 4096> bytes{};
  while (true) {
    const ssize_t size = recv(from.get(), bytes.data(), bytes.size(), 0);
    if (size <= 0) return {all, size == 0 || errno != EAGAIN};
    all.append(bytes.data(), static_cast<size_t>(size));
  }
}

TEST_CASE("relay: carries either's words to the other", "[relay]") {
  Relayed relayed;
  const std::string call = kPreface + Frame(kHeadersFrame, 50);
  Send(relayed.client, call);
  Send(relayed.grpc, "an answer");
  relayed.Run();
  CHECK(Receive(relayed.grpc) == std::pair(call, false));
  CHECK(Receive(relayed.client) == std::pair(std::string("an answer"), false));
  CHECK(relayed.complaints.empty());
}

TEST_CASE("relay: the last words arrive before the end", "[relay]") {
  Relayed relayed;
  const std::string words(100'000, 'w');
  REQUIRE(Send(relayed.grpc, words) == words.size());
  relayed.grpc.reset();
  std::string heard;
  bool is_end = false;
  for (int i = 0; i < 50 && !is_end; ++i) {
    relayed.Run(milliseconds(2));
    auto [more, end] = Receive(relayed.client);
    heard += more;
    is_end = end;
  }
  CHECK(heard == words);
  CHECK(is_end);
  CHECK(relayed.pace.use_count() == 1);  // nothing is left of it
}

TEST_CASE("relay: ends with its client", "[relay]") {
  Relayed relayed;
  relayed.client.reset();
  relayed.Run();
  CHECK(Receive(relayed.grpc).second);
  CHECK(relayed.pace.use_count() == 1);
}

TEST_CASE("relay: a flood of calls waits in its sender's socket", "[relay]") {
  Relayed relayed;
  const std::string call = Frame(kHeadersFrame, 100);
  Send(relayed.client, kPreface);
  const auto flood = [&] {
    size_t sent = 0;
    for (int i = 0; i < 1000; ++i) {
      while (Send(relayed.client, call) == call.size()) sent += call.size();
      relayed.Run(milliseconds(1));
    }
    return sent;
  };
  const auto start = std::chrono::steady_clock::now();
  const auto spent_before = std::clock();
  const size_t sent = flood();
  const auto spent = std::clock() - spent_before;
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - start;
  const double calls =
      static_cast<double>(Receive(relayed.grpc).first.size() - 24) /
      static_cast<double>(call.size());
  CHECK(calls >= 64);
  CHECK(calls < 64 + 32 * (passed.count() + 0.1));
  // Two sockets' buffers, and what went on.
  CHECK(sent < 3'000'000);
  CHECK(spent < CLOCKS_PER_SEC / 2);
  CHECK(relayed.complaints ==
        std::vector<std::string>{
            "asks for too much at once, and is slowed down"});
}

TEST_CASE("relay: who takes no answers is not heard", "[relay]") {
  Relayed relayed;
  Send(relayed.client, kPreface);
  const std::string data = Frame(kDataFrame, 16'000);
  size_t asked = 0;
  size_t answered = 0;
  for (int i = 0; i < 300; ++i) {
    asked += Send(relayed.client, data);
    answered += Send(relayed.grpc, data);
    Receive(relayed.grpc);
    relayed.Run(milliseconds(1));
  }
  CHECK(answered < 2'000'000);
  CHECK(asked < 4'000'000);
  // As soon as it does, it goes on.
  bool is_end = false;
  for (int i = 0; i < 100; ++i) {
    is_end = is_end || Receive(relayed.client).second;
    relayed.Run(milliseconds(1));
  }
  CHECK_FALSE(is_end);
  Receive(relayed.grpc);
  const size_t more = Send(relayed.client, data);
  CHECK(more == data.size());
  relayed.Run(milliseconds(10));
  CHECK(Receive(relayed.grpc).first.size() == more);
}

TEST_CASE("relay: hangs up on who speaks something else", "[relay]") {
  Relayed relayed;
  Send(relayed.client, "GET / HTTP/1.1\r\n\r\n");
  relayed.Run();
  CHECK(Receive(relayed.client).second);
  CHECK(Receive(relayed.grpc) == std::pair(std::string(), true));
  CHECK(relayed.complaints ==
        std::vector<std::string>{"does not speak HTTP/2"});
}

}  // namespace
}  // namespace edged::edge
