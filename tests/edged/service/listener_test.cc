#include "edged/service/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "tests/common/captured_log.h"
#include "tests/common/temporary_folder.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;

// Lowers the process's limit of descriptors for as long as it lives.
class DescriptorLimit {
 public:
  // So many numbers above the lowest free one.
  explicit DescriptorLimit(rlim_t more) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const UniqueFd lowest(open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest.get()) + more;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

// A listener on a Unix socket; the test's own thread runs its loop.
struct Door {
  Door() : path(folder / "door.sock") {
    auto created = EventLoop::Create();
    REQUIRE(created.ok());
    loop = *std::move(created);
  }

  void Open() { Open("unix:" + path); }
  void Open(const std::string& address) {
    auto opened = Listener::Open(address, *loop, [this](UniqueFd connection) {
      connections.push_back(std::move(connection));
    });
    REQUIRE(opened.status() == absl::OkStatus());
    listener = *std::move(opened);
  }

  UniqueFd Connect() const {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(client);
    Connect(client);
    return client;
  }
  void Connect(const UniqueFd& client) const {
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    REQUIRE(connect(client.get(), reinterpret_cast<const sockaddr*>(&name),
                    sizeof name) == 0);
  }

  void Run(milliseconds time) {
    loop->After(time, [this] { loop->Stop(); });
    loop->Run();
  }

  TemporaryFolder folder;
  const std::string path;
  std::unique_ptr<EventLoop> loop;
  std::shared_ptr<Listener> listener;
  std::vector<UniqueFd> connections;
};

// The other side has closed it.
bool IsClosed(const UniqueFd& client) {
  char byte = 0;
  const ssize_t size = recv(client.get(), &byte, 1, MSG_DONTWAIT);
  return size == 0 || (size < 0 && errno == ECONNRESET);
}

TEST_CASE("listener: a connection too many is closed, the next gets its place",
          "[listener]") {
  Door door;
  // Ten pairs of descriptors at most, beside the sixteen to spare.
  const DescriptorLimit limit(40);
  door.Open();
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(door.Connect());
    door.Run(milliseconds(5));
  }
  const size_t taken = door.connections.size();
  CHECK(taken >= 8);
  CHECK(taken < clients.size());
  for (size_t i = 0; i < clients.size(); ++i) {
    CHECK(IsClosed(clients[i]) == (i >= taken));
  }
  clients.resize(taken);
  door.connections[0].reset();
  clients[0] = door.Connect();
  door.Run(milliseconds(20));
  CHECK(door.connections.size() == taken + 1);
  CHECK_FALSE(IsClosed(clients[0]));
}

TEST_CASE("listener: goes on where there was no descriptor at all",
          "[listener]") {
  Door door;
  const DescriptorLimit limit(24);
  door.Open();
  door.Run(milliseconds(5));
  const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::vector<UniqueFd> all;
  const auto take_all = [&] {
    while (true) {
      UniqueFd one(fcntl(client.get(), F_DUPFD_CLOEXEC, 0));
      if (!one) return;
      all.push_back(std::move(one));
    }
  };
  door.Connect(client);
  take_all();
  // Other tests' gRPC threads close theirs a moment later.
  const auto again = door.loop->Every(milliseconds(1), take_all);
  const auto start = std::clock();
  door.Run(milliseconds(700));
  const auto spent = std::clock() - start;
  const size_t taken = door.connections.size();
  door.loop->Cancel(again);
  all.clear();
  // Not before: a sanitizer needs descriptors to look at a check's types.
  CHECK(taken == 0);
  // It rests instead of trying again and again.
  CHECK(spent < CLOCKS_PER_SEC / 5);
  door.Run(milliseconds(1000));
  CHECK(door.connections.size() == 1);
}

TEST_CASE("listener: nothing is accepted after Close, and the place is free",
          "[listener]") {
  Door door;
  door.Open();
  const UniqueFd before = door.Connect();
  door.Run(milliseconds(5));
  REQUIRE(door.connections.size() == 1);
  door.listener->Close();
  CHECK(access(door.path.c_str(), F_OK) != 0);
  door.Open();
  const UniqueFd after = door.Connect();
  door.Run(milliseconds(5));
  CHECK(door.connections.size() == 2);
  CHECK_FALSE(IsClosed(before));
}

sockaddr_in Loopback(uint32_t host, uint16_t port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host);
  name.sin_port = htons(port);
  return name;
}

// A port of 127.0.0.1 that nobody has.
uint16_t FreePort() {
  const UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name = Loopback(1, 0);
  socklen_t size = sizeof name;
  REQUIRE(bind(probe.get(), reinterpret_cast<sockaddr*>(&name), size) == 0);
  REQUIRE(getsockname(probe.get(), reinterpret_cast<sockaddr*>(&name), &size) ==
          0);
  return ntohs(name.sin_port);
}

UniqueFd ConnectFrom(uint32_t host, uint16_t port) {
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in from = Loopback(host, 0);
  const sockaddr_in to = Loopback(1, port);
  REQUIRE(bind(client.get(), reinterpret_cast<const sockaddr*>(&from),
               sizeof from) == 0);
  REQUIRE(connect(client.get(), reinterpret_cast<const sockaddr*>(&to),
                  sizeof to) == 0);
  return client;
}

TEST_CASE("listener: gives no single address all connections", "[listener]") {
  Door door;
  const uint16_t port = FreePort();
  door.Open(fmt::format("127.0.0.1:{}", port));
  // From 127.0.0.HOST; whether the other side keeps it.
  std::vector<UniqueFd> clients;
  const auto connects_from = [&](uint32_t host) {
    clients.push_back(ConnectFrom(host, port));
    door.Run(milliseconds(10));
    return !IsClosed(clients.back());
  };
  for (size_t i = 0; i < Listener::kMostOfOneAddress; ++i) {
    CHECK(connects_from(2));
  }
  CHECK_FALSE(connects_from(2));
  CHECK(connects_from(3));
  // gRPC closes some.
  door.connections[0].reset();
  door.connections[1].reset();
  door.Run(milliseconds(10));
  CHECK(connects_from(2));
  CHECK(connects_from(2));
  CHECK_FALSE(connects_from(2));
}

TEST_CASE("listener: tells of each client that is refused", "[listener]") {
  Door door;
  CapturedLog log;
  const uint16_t port = FreePort();
  door.Open(fmt::format("127.0.0.1:{}", port));
  std::vector<UniqueFd> clients;
  for (const uint32_t host : {2, 3}) {
    for (size_t i = 0; i < Listener::kMostOfOneAddress + 2; ++i) {
      clients.push_back(ConnectFrom(host, port));
      door.Run(milliseconds(5));
    }
  }
  std::string told;
  for (const uint32_t host : {2, 3}) {
    told += fmt::format(
        "warning: api 127.0.0.1:{}: refused 127.0.0.{}: it has 8 connections "
        "already\n",
        port, host);
  }
  CHECK(log.Take() == told);
}

TEST_CASE("listener: who comes again and again must wait", "[listener]") {
  Door door;
  const uint16_t port = FreePort();
  int taken = 0;
  auto opened = Listener::Open(fmt::format("127.0.0.1:{}", port), *door.loop,
                               [&taken](UniqueFd) { ++taken; });
  REQUIRE(opened.status() == absl::OkStatus());
  door.listener = *std::move(opened);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 200; ++i) {
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in to = Loopback(1, port);
    REQUIRE(connect(client.get(), reinterpret_cast<const sockaddr*>(&to),
                    sizeof to) == 0);
    door.Run(milliseconds(1));
  }
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - begin;
  CHECK(taken >= 64);
  CHECK(taken < 64 + 32 * (passed.count() + 0.1));
}

TEST_CASE("listener: a TCP address is free again at once", "[listener]") {
  Door door;
  const std::string address = fmt::format("127.0.0.1:{}", FreePort());
  for (int i = 0; i < 2; ++i) {
    const auto opened = Listener::Open(address, *door.loop, [](UniqueFd) {});
    REQUIRE(opened.status() == absl::OkStatus());
    CHECK(Message(
              Listener::Open(address, *door.loop, [](UniqueFd) {}).status()) ==
          "cannot listen on " + address + ": bind: Address already in use");
    (*opened)->Close();
  }
  CHECK_FALSE(Listener::Open("10.0.0.1", *door.loop, [](UniqueFd) {}).ok());
  CHECK_FALSE(
      Listener::Open("unix:" + std::string(200, 'x'), *door.loop, [](UniqueFd) {
      }).ok());
}

}  // namespace
}  // namespace edged::edge
