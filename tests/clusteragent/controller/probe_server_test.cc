#include "clusteragent/controller/probe_server.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <vector>

#include "common/socket_address.h"
#include "tests/clusteragent/edge/loop_runner.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

UniqueFd Connect(const SocketAddress& server) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto [storage, length] = ToSockaddr(server);
  REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage),
                  length) == 0);
  return fd;
}

bool IsHungUpOn(const UniqueFd& fd) {
  char byte = 0;
  const ssize_t size = recv(fd.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  return size == 0 || (size < 0 && errno != EAGAIN);
}

// What the server answers before it hangs up.
std::string Ask(LoopRunner& runner, const SocketAddress& server,
                const std::string& request) {
  const UniqueFd fd = Connect(server);
  REQUIRE(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size()));
  std::string answer;
  runner.Until([&] {
    char bytes[1024];
    const ssize_t size = recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0) answer.append(bytes, static_cast<size_t>(size));
    return size == 0;
  });
  return answer;
}

TEST_CASE("probe_server: answers GET of its pages alone", "[probe_server]") {
  LoopRunner runner;
  const SocketAddress address = *ParseBindAddress("127.0.0.1:18081");
  bool ready = false;
  const auto server = ProbeServer::Start(
      runner.loop(), address,
      {{"/readyz", [&ready] {
          return ready ? ProbePage{200, "ok\n"} : ProbePage{503, "not yet\n"};
        }}});
  REQUIRE(server.ok());
  const auto ask = [&](const std::string& line) {
    return Ask(runner, address, line + "\r\nHost: x\r\n\r\n");
  };
  CHECK(ask("GET /readyz HTTP/1.1").find("503") != std::string::npos);
  ready = true;
  CHECK(ask("GET /readyz?verbose HTTP/1.1").find("200 OK") !=
        std::string::npos);
  CHECK(ask("GET /other HTTP/1.1").find("404") != std::string::npos);
  CHECK(ask("POST /readyz HTTP/1.1").find("405") != std::string::npos);
}

TEST_CASE("probe_server: whoever only holds connections keeps nobody out",
          "[probe_server]") {
  LoopRunner runner;
  const SocketAddress address = *ParseBindAddress("127.0.0.1:18082");
  const auto server = ProbeServer::Start(runner.loop(), address,
                                         {{"/healthz",
                                           [] {
                                             return ProbePage{200, "ok\n"};
                                           }}},
                                         {.patience = milliseconds(300)});
  REQUIRE(server.ok());
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 40; ++i) idle.push_back(Connect(address));
  CHECK(Ask(runner, address, "GET /healthz HTTP/1.1\r\n\r\n").find("200 OK") !=
        std::string::npos);
  // The oldest went for the new ones, the others with time.
  CHECK(IsHungUpOn(idle.front()));
  CHECK_FALSE(IsHungUpOn(idle.back()));
  CHECK(runner.Until([&] { return IsHungUpOn(idle.back()); }));
}

TEST_CASE("probe_server: a byte now and then, or no end, is not waited for",
          "[probe_server]") {
  LoopRunner runner;
  const SocketAddress address = *ParseBindAddress("127.0.0.1:18083");
  const auto server =
      ProbeServer::Start(runner.loop(), address, {},
                         {.request = 1000, .patience = milliseconds(300)});
  REQUIRE(server.ok());
  const UniqueFd slow = Connect(address);
  int sent = 0;
  CHECK(runner.Until([&] {
    if (++sent % 10 == 0) send(slow.get(), "G", 1, MSG_NOSIGNAL);
    return IsHungUpOn(slow);
  }));
  CHECK(Ask(runner, address, std::string(2000, 'x')).empty());
}

TEST_CASE("probe_server: addresses to bind", "[probe_server]") {
  CHECK(ParseBindAddress(":8081")->ToString() == "[::]:8081");
  CHECK(ParseBindAddress("127.0.0.1:80")->ToString() == "127.0.0.1:80");
  for (const char* text : {"", ":", ":0", ":70000", ":x", "8081", "a:1"}) {
    CHECK_FALSE(ParseBindAddress(text).ok());
  }
}

}  // namespace
}  // namespace edged::agent
