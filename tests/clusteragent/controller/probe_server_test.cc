#include "clusteragent/controller/probe_server.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "common/socket_address.h"
#include "tests/clusteragent/edge/loop_runner.h"

namespace edged::agent {
namespace {

// What the server answers before it hangs up.
std::string Ask(LoopRunner& runner, const SocketAddress& server,
                const std::string& request) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto [storage, length] = ToSockaddr(server);
  REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage),
                  length) == 0);
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

TEST_CASE("probe_server: addresses to bind", "[probe_server]") {
  CHECK(ParseBindAddress(":8081")->ToString() == "[::]:8081");
  CHECK(ParseBindAddress("127.0.0.1:80")->ToString() == "127.0.0.1:80");
  for (const char* text : {"", ":", ":0", ":70000", ":x", "8081", "a:1"}) {
    CHECK_FALSE(ParseBindAddress(text).ok());
  }
}

}  // namespace
}  // namespace edged::agent
