#include <sys/epoll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <optional>
#include <vector>

#include "clusteragent/uplink/heartbeat_sender.h"
#include "common/protocol/path_probe.h"
#include "common/socket_address.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

// An edge on lo that keeps the heartbeats it hears and echoes them if it may.
class Edge {
 public:
  explicit Edge(EventLoop& loop)
      : loop_(loop), fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const auto [storage, length] =
        ToSockaddr({IpAddress::FromIpv4(0x7f000001), 0});
    REQUIRE(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&storage),
                 length) == 0);
    REQUIRE(loop_.Watch(fd_.get(), EPOLLIN, [this](uint32_t) { Read(); }).ok());
  }
  ~Edge() { loop_.Unwatch(fd_.get()); }

  SocketAddress address() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    REQUIRE(getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage),
                        &length) == 0);
    return FromSockaddr(storage).value();
  }

  bool echoes = true;
  bool echoes_noise = false;
  std::vector<protocol::Heartbeat> heard;
  // Of path probes: echoed up to this size, with this MTU of the edge's own.
  uint32_t carries = 0;
  uint32_t mtu = 1440;
  uint32_t told = 0;

 private:
  void Read() {
    uint8_t bytes[2048];
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t size = recvfrom(fd_.get(), bytes, sizeof bytes, 0,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    REQUIRE(size > 0);
    if (auto probe = protocol::DecodePathProbe(
            std::span<const uint8_t>(bytes, static_cast<size_t>(size)));
        probe.ok()) {
      const uint32_t packet =
          protocol::PacketSize(Family::kIpv4, static_cast<size_t>(size));
      if (packet > carries) return;
      if (probe->uplink_mtu != 0) told = probe->uplink_mtu;
      probe->edge_mtu = mtu;
      const std::string echo = Encode(*probe, Family::kIpv4, packet);
      sendto(fd_.get(), echo.data(), echo.size(), 0,
             reinterpret_cast<const sockaddr*>(&from), length);
      return;
    }
    const auto heartbeat = protocol::DecodeHeartbeat(
        std::span<const uint8_t>(bytes, static_cast<size_t>(size)));
    REQUIRE(heartbeat.ok());
    heard.push_back(*heartbeat);
    if (!echoes) return;
    if (echoes_noise) bytes[0] ^= 0xff;
    sendto(fd_.get(), bytes, static_cast<size_t>(size), 0,
           reinterpret_cast<const sockaddr*>(&from), length);
  }

  EventLoop& loop_;
  UniqueFd fd_;
};

struct Setup {
  netlink::OwnNamespace own;
  LoopRunner runner;
  std::optional<Edge> edge;
  std::unique_ptr<HeartbeatSender> sender;
  std::vector<bool> changes;

  // `says` ready from the beginning; otherwise nothing is sent yet.
  explicit Setup(bool echoes = true, bool says = true) {
    if (!own) return;
    wireguard::Run("ip link set lo up");
    edge.emplace(runner.loop());
    edge->echoes = echoes;
    auto started =
        HeartbeatSender::Start(runner.loop(),
                               {.device = "lo",
                                .own = IpAddress::FromIpv4(0x7f000001),
                                .edge = edge->address(),
                                .interval = milliseconds(20),
                                .threshold = 3},
                               [this] { changes.push_back(sender->is_up()); });
    REQUIRE(started.ok());
    sender = *std::move(started);
    if (says) sender->Say({.ready = true}, protocol::Digest());
  }
};

TEST_CASE("heartbeat_sender: is up while the edge echoes", "[heartbeat]") {
  Setup setup;
  if (!setup.own) return;
  CHECK_FALSE(setup.sender->is_up());
  REQUIRE(setup.runner.Until([&] { return setup.sender->is_up(); }));
  CHECK(setup.changes == std::vector<bool>{true});
  setup.edge->echoes = false;
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(setup.runner.Until([&] { return !setup.sender->is_up(); }));
  // Three may be missed, 20 ms apart.
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(55));
  setup.edge->echoes = true;
  REQUIRE(setup.runner.Until([&] { return setup.sender->is_up(); }));
  CHECK(setup.changes == std::vector<bool>{true, false, true});
}

TEST_CASE("heartbeat_sender: noise is no echo", "[heartbeat]") {
  Setup setup;
  if (!setup.own) return;
  setup.edge->echoes_noise = true;
  REQUIRE(setup.runner.Until([&] { return setup.edge->heard.size() >= 5; }));
  CHECK_FALSE(setup.sender->is_up());
  CHECK(setup.changes.empty());
}

TEST_CASE("heartbeat_sender: says what it was told, at once", "[heartbeat]") {
  Setup setup(/*echoes=*/false, /*says=*/false);
  if (!setup.own) return;
  // A heartbeat that says "not ready" would make a serving uplink dead.
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(setup.runner.Until([&] {
    return std::chrono::steady_clock::now() - start > milliseconds(100);
  }));
  CHECK(setup.edge->heard.empty());
  protocol::Digest digest;
  digest.Add(protocol::Settings());
  setup.sender->Say({.ready = true}, digest);
  REQUIRE(setup.runner.Until([&] { return setup.edge->heard.size() >= 3; }));
  CHECK(setup.edge->heard.front().ready);
  CHECK(setup.edge->heard.front().applied == digest);
  CHECK(setup.edge->heard.back().ready);
  CHECK(setup.edge->heard.back().applied == digest);
  for (size_t i = 1; i < setup.edge->heard.size(); ++i) {
    CHECK(setup.edge->heard[i].sequence ==
          setup.edge->heard[i - 1].sequence + 1);
  }
}

TEST_CASE("heartbeat_sender: finds what comes through, and stays up meanwhile",
          "[heartbeat]") {
  Setup setup;
  if (!setup.own) return;
  setup.edge->carries = 1220;
  CHECK(setup.sender->mtu() == 0);
  setup.sender->SetMtu(1440);
  CHECK(setup.sender->mtu() == 1440);
  REQUIRE(setup.runner.Until([&] { return setup.sender->mtu() == 1216; }));
  REQUIRE(setup.runner.Until([&] { return setup.edge->told == 1216; }));
  CHECK(setup.sender->is_up());
  // Up, down to 1200, up to 1216: all are told, and it never was down.
  CHECK(setup.changes == std::vector<bool>{true, true, true});
}

TEST_CASE("heartbeat_sender: resumes with the MTU of one before",
          "[heartbeat]") {
  Setup setup;
  if (!setup.own) return;
  setup.edge->carries = 1220;
  setup.sender->ResumeMtu(1216);
  setup.sender->SetMtu(1440);
  CHECK(setup.sender->mtu() == 1216);
  REQUIRE(setup.runner.Until([&] { return setup.edge->told == 1216; }));
  CHECK(setup.changes == std::vector<bool>{true});  // up, and no other size
}

TEST_CASE("heartbeat_sender: tries larger sizes at once on another way",
          "[heartbeat]") {
  Setup setup;
  if (!setup.own) return;
  setup.edge->carries = 1220;
  setup.sender->SetMtu(1440);
  REQUIRE(setup.runner.Until([&] { return setup.edge->told == 1216; }));
  setup.edge->carries = 1500;
  setup.sender->SearchAnew();
  CHECK(setup.sender->mtu() == 1216);  // until more has passed
  REQUIRE(setup.runner.Until([&] { return setup.sender->mtu() == 1440; }));
}

TEST_CASE("heartbeat_sender: an edge that knows no probes keeps the MTU",
          "[heartbeat]") {
  Setup setup;
  if (!setup.own) return;
  setup.sender->SetMtu(1440);
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(setup.runner.Until([&] {
    return std::chrono::steady_clock::now() - start > milliseconds(1500);
  }));
  CHECK(setup.sender->mtu() == 1440);
  CHECK(setup.sender->is_up());
}

TEST_CASE("heartbeat_sender: names the device that is not there",
          "[heartbeat]") {
  const netlink::OwnNamespace own;
  if (!own) return;
  LoopRunner runner;
  const auto sender =
      HeartbeatSender::Start(runner.loop(),
                             {.device = "eu-none",
                              .own = IpAddress::FromIpv4(0x7f000001),
                              .edge = {IpAddress::FromIpv4(0x7f000001), 7443}},
                             [] {});
  CHECK(Message(sender.status()) ==
        "heartbeats to 127.0.0.1:7443 on eu-none: No such device");
}

}  // namespace
}  // namespace edged::agent
