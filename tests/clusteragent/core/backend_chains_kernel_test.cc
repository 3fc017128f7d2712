// The uplink's table with Services in this host's kernel: two network
// namespaces of the test's own, a client in one, and the uplink in the other,
// whose link is called as the tunnel would be.

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>

#include "common/nftables/client.h"
#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "common/socket_address.h"
#include "tests/clusteragent/core/cluster_for_test.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::agent {
namespace {

using wireguard::Inside;
using wireguard::NewNetwork;
using wireguard::Run;

sockaddr_in Address(const std::string& text, uint16_t port) {
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port)};
  const IpAddress parsed = Ip(text);
  std::memcpy(&address.sin_addr, parsed.bytes().data(), 4);
  return address;
}

UniqueFd Listen(const std::string& text, uint16_t port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Address(text, port);
  REQUIRE(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address),
               sizeof address) == 0);
  REQUIRE(listen(fd.get(), 64) == 0);
  return fd;
}

class Lab {
 public:
  Lab() {
    const std::string pid = std::to_string(getpid());
    {
      const Inside inside(uplink_);
      Run("ip link set lo up");
      for (const char* endpoint : {"10.1.0.1", "10.1.0.2", "10.1.0.3"}) {
        Run(std::string("ip addr add ") + endpoint + "/32 dev lo");
        listeners_[endpoint] = Listen(endpoint, 8080);
      }
      Run(std::string("ip link add ") + kDeviceA +
          " type veth peer name c0 netns /proc/" + pid + "/fd/" +
          std::to_string(client_.get()));
      Run(std::string("ip addr add 198.51.100.1/24 dev ") + kDeviceA);
      Run(std::string("ip link set up dev ") + kDeviceA);
      auto client = nftables::Client::Open();
      if (client.ok()) nft_ = *std::move(client);
    }
    const Inside inside(client_);
    Run("ip addr add 198.51.100.9/24 dev c0 && ip link set up dev c0 && "
        "ip route add 10.200.0.0/22 via 198.51.100.1");
  }

  // False when nothing had to be written.
  bool Apply(const World& world) {
    const Inside inside(uplink_);
    const nftables::Table table = Make(Ipv6InputFor({"a"}), world).table;
    const auto listing = nft_->List(kUplinkTable);
    REQUIRE(listing.ok());
    const auto change = nftables::Diff(*listing, table);
    INFO(nftables::Print(change));
    REQUIRE(nft_->Apply(change) == absl::OkStatus());
    return !change.empty();
  }

  std::string InUplink(const std::string& command) {
    const Inside inside(uplink_);
    return Run(command);
  }

  // Which endpoint took the connection of one client's port.
  std::string Ask(uint16_t source_port) {
    UniqueFd fd;
    {
      const Inside inside(client_);
      fd.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }
    const timeval patience{.tv_sec = 2};
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int one = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const sockaddr_in source = Address("198.51.100.9", source_port);
    const sockaddr_in listener = Address("10.200.0.17", 80);
    REQUIRE(bind(fd.get(), reinterpret_cast<const sockaddr*>(&source),
                 sizeof source) == 0);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&listener),
                sizeof listener) != 0) {
      return std::strerror(errno);
    }
    for (const auto& [name, listening] : listeners_) {
      pollfd wait{listening.get(), POLLIN, 0};
      if (poll(&wait, 1, 0) == 0) continue;
      UniqueFd(accept(listening.get(), nullptr, nullptr));
      return name;
    }
    return "nobody";
  }

  // How many of 90 connections each endpoint took: "10.1.0.1 10.1.0.2".
  std::map<std::string, int> AskMany(uint16_t first_port) {
    std::map<std::string, int> took;
    for (uint16_t i = 0; i < 90; ++i) ++took[Ask(first_port + i)];
    return took;
  }

  bool ready() const { return nft_ != nullptr; }

 private:
  const UniqueFd uplink_ = NewNetwork();
  const UniqueFd client_ = NewNetwork();
  std::map<std::string, UniqueFd> listeners_;
  std::unique_ptr<nftables::Client> nft_;
};

#define SKIP_WITHOUT_KERNEL()      \
  SKIP_IF_IMPOSSIBLE();            \
  Lab lab;                         \
  if (!lab.ready()) {              \
    std::cout << "SKIPPED: nft\n"; \
    return;                        \
  }

TEST_CASE("backend_chains: connections spread over the endpoints",
          "[backend_chains]") {
  SKIP_WITHOUT_KERNEL();
  World world = WithService();
  lab.Apply(world);
  auto took = lab.AskMany(20000);
  CHECK(took.size() == 2);
  CHECK(took["10.1.0.1"] >= 25);
  CHECK(took["10.1.0.2"] >= 25);

  world.cluster->slices[0].endpoints.push_back(Ready("10.1.0.3"));
  lab.Apply(world);
  took = lab.AskMany(21000);
  CHECK(took.size() == 3);
  CHECK(took["10.1.0.3"] >= 15);

  world.cluster->slices[0].endpoints = {Ready("10.1.0.2")};
  lab.Apply(world);
  took = lab.AskMany(22000);
  CHECK(took == std::map<std::string, int>{{"10.1.0.2", 90}});
}

TEST_CASE("backend_chains: with affinity a client has one endpoint",
          "[backend_chains]") {
  SKIP_WITHOUT_KERNEL();
  World world = WithService();
  world.cluster->services[0].client_ip_affinity = true;
  lab.Apply(world);
  CHECK(lab.AskMany(20000).size() == 1);
}

TEST_CASE("backend_chains: the same again writes nothing, a listing reloads",
          "[backend_chains]") {
  SKIP_WITHOUT_KERNEL();
  World world = WithService();
  for (const bool affinity : {false, true}) {
    world.cluster->services[0].client_ip_affinity = affinity;
    CHECK(lab.Apply(world));
    CHECK_FALSE(lab.Apply(world));
    const std::string listed = lab.InUplink("nft list ruleset");
    CHECK(listed.find("vmap @backends4") != std::string::npos);
    lab.InUplink(
        "nft list ruleset > /tmp/edged-backends.$$ && nft flush ruleset && "
        "nft -f /tmp/edged-backends.$$ && rm /tmp/edged-backends.$$");
    CHECK(lab.InUplink("nft list ruleset") == listed);
    CHECK_FALSE(lab.Apply(world));
  }
  world.cluster->slices.clear();
  CHECK(lab.Apply(world));
  CHECK(lab.InUplink("nft list ruleset").find("backends4") ==
        std::string::npos);
  CHECK(lab.Apply(WithService()));
}

}  // namespace
}  // namespace edged::agent
