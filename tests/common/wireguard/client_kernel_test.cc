// Both backends against a real WireGuard and against the wg tool, each host in
// a network namespace of its own.

#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "common/status.h"
#include "common/wireguard/client.h"
#include "tests/common/wireguard/devices.h"
#include "tests/common/wireguard/hosts.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::wireguard {
namespace {

std::vector<IpPrefix> ManyPrefixes(int count) {
  std::vector<IpPrefix> prefixes;
  const IpAddress first = IpAddress::FromIpv4(0x0b000000);
  for (int i = 0; i < count; ++i) {
    prefixes.push_back(IpPrefix::Host(first.Plus(i)));
  }
  const IpAddress first6 = IpAddress::Parse("fd00::").value();
  for (int i = 0; i < count; ++i) {
    prefixes.push_back(IpPrefix(first6.Plus(i, 64), 64));
  }
  return prefixes;
}

// What the cases are run with.
struct Kernel {
  static constexpr Backend kBackend = Backend::kKernel;
};
struct Userspace {
  static constexpr Backend kBackend = Backend::kUserspace;
};

TEMPLATE_TEST_CASE("wireguard_client: a packet passes, and the wg tool agrees",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  CHECK(AgreesWithTool(hosts.left));
  CHECK(Passes(hosts.left, hosts.right));
  CHECK(Passes(hosts.right, hosts.left));
  CHECK(AgreesWithTool(hosts.left));
  CHECK(AgreesWithTool(hosts.right));
  const Peer peer = hosts.left.Observe().peers.at(0);
  CHECK(peer.received_bytes > 0);
  CHECK(peer.sent_bytes > 0);
  const auto age = std::chrono::system_clock::now() - peer.last_handshake;
  CHECK(age > std::chrono::seconds(-2));
  CHECK(age < std::chrono::seconds(60));
}

TEMPLATE_TEST_CASE("wireguard_client: what the wg tool set is what we read",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  {
    const Inside inside(hosts.left.network);
    Run(
        fmt::format("wg set {} listen-port 41000 fwmark 0xed peer {} "
                    "persistent-keepalive 17 endpoint [2001:db8::1]:1 "
                    "allowed-ips 10.1.0.0/16,::/0",
                    hosts.left.device, Key(7).ToString()));
  }
  const Device device = SeenByUs(hosts.left);
  CHECK(device == SeenByTool(hosts.left));
  CHECK(device.listen_port == 41000);
  CHECK(device.fwmark == 0xed);
  REQUIRE(device.peers.size() == 2);
  hosts.left.Reconcile();
  CHECK(SeenByTool(hosts.left).peers.size() == 1);
  CHECK(AgreesWithTool(hosts.left));
  CHECK(Passes(hosts.left, hosts.right));
}

TEMPLATE_TEST_CASE("wireguard_client: changes leave a running session alone",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  REQUIRE(Passes(hosts.left, hosts.right));
  const auto handshake = hosts.left.Observe().peers.at(0).last_handshake;
  REQUIRE(handshake.time_since_epoch().count() > 0);

  hosts.left.wanted.peers[0].keepalive_seconds = 25;
  hosts.left.wanted.peers[0].allowed_ips.push_back(Prefix("fd00::/64"));
  hosts.left.wanted.peers.push_back(
      {.key = Key(9), .allowed_ips = Prefixes({"10.3.0.0/16"})});
  hosts.left.Reconcile();
  hosts.left.wanted.peers.pop_back();
  hosts.left.Reconcile();
  CHECK(Passes(hosts.left, hosts.right));
  CHECK(AgreesWithTool(hosts.left));
  CHECK(hosts.left.Observe().peers.at(0).last_handshake == handshake);
}

TEMPLATE_TEST_CASE("wireguard_client: thousands of allowed ips span messages",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  Peer busy{.key = Key(7), .allowed_ips = ManyPrefixes(1500)};
  hosts.left.wanted.peers.push_back(busy);
  hosts.left.wanted.peers.push_back(
      {.key = Key(8), .allowed_ips = Prefixes({"10.4.0.0/16"})});
  hosts.left.Reconcile();
  CHECK(AgreesWithTool(hosts.left));

  // Half of them move to another peer.
  auto& from = hosts.left.wanted.peers[1].allowed_ips;
  auto& to = hosts.left.wanted.peers[2].allowed_ips;
  to.assign(from.begin() + 700, from.end());
  from.resize(700);
  hosts.left.Reconcile();
  CHECK(AgreesWithTool(hosts.left));
  CHECK(Passes(hosts.left, hosts.right));
}

TEMPLATE_TEST_CASE("wireguard_client: two peers exchange their prefixes",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  Device& wanted = hosts.left.wanted;
  wanted.peers.push_back(
      {.key = Key(7), .allowed_ips = Prefixes({"10.5.0.0/16"})});
  wanted.peers.push_back(
      {.key = Key(8), .allowed_ips = Prefixes({"10.6.0.0/16"})});
  hosts.left.Reconcile();
  std::swap(wanted.peers[1].allowed_ips, wanted.peers[2].allowed_ips);
  hosts.left.Reconcile();
  CHECK(AgreesWithTool(hosts.left));
}

TEMPLATE_TEST_CASE("wireguard_client: a preshared key that somebody set stays",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  const std::string preshared = Secret(0x55).Reveal();
  for (Host* host : {&hosts.left, &hosts.right}) {
    const Inside inside(host->network);
    Run(fmt::format("echo {} | wg set {} peer {} preshared-key /dev/stdin",
                    preshared, host->device,
                    host->wanted.peers[0].key.ToString()));
  }
  hosts.left.wanted.peers[0].keepalive_seconds = 20;
  hosts.left.wanted.peers[0].allowed_ips.push_back(Prefix("10.7.0.0/16"));
  hosts.left.Reconcile();
  CHECK(Passes(hosts.left, hosts.right));
  const Inside inside(hosts.left.network);
  CHECK(Run(fmt::format("wg show {} preshared-keys", hosts.left.device)) ==
        hosts.right.key.Public().ToString() + "\t" + preshared + "\n");
}

TEMPLATE_TEST_CASE(
    "wireguard_client: a peer that has gone is not made by a change",
    "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  const Inside inside(hosts.left.network);
  const DeviceChange change{
      .removed_peers = {Key(6)},
      .changed_peers = {{.key = Key(7),
                         .endpoint = Endpoint("192.0.2.9:1"),
                         .allowed_ips = Prefixes({"10.200.0.2/32"}),
                         .keepalive_seconds = 5}}};
  CHECK(hosts.left.client->Apply(hosts.left.device, change).ok());
  CHECK(Diff(hosts.left.Observe(), hosts.left.wanted).ToString() == "");
  CHECK(AgreesWithTool(hosts.left));
}

TEMPLATE_TEST_CASE(
    "wireguard_client: follows a peer that roams, and calls it no drift",
    "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  REQUIRE(Passes(hosts.right, hosts.left));
  hosts.right.wanted.listen_port = 51821;
  hosts.right.Reconcile();
  CHECK(Passes(hosts.right, hosts.left));
  CHECK(hosts.left.Observe().peers.at(0).endpoint ==
        Endpoint("192.0.2.2:51821"));
  CHECK(Diff(hosts.left.Observe(), hosts.left.wanted).ToString() == "");
  CHECK(AgreesWithTool(hosts.left));
  CHECK(Passes(hosts.left, hosts.right));
}

TEMPLATE_TEST_CASE(
    "wireguard_client: an endpoint set anew leaves a lost own address",
    "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  REQUIRE(Passes(hosts.right, hosts.left));
  {
    const Inside inside(hosts.right.network);
    Run("ip address del 192.0.2.2/24 dev wire");
    Run("ip address add 192.0.2.3/24 dev wire");
    const DeviceChange redial =
        Diff(hosts.right.Observe(), hosts.right.wanted, true);
    REQUIRE(hosts.right.client->Apply(hosts.right.device, redial).ok());
  }
  CHECK(Passes(hosts.right, hosts.left));
  CHECK(hosts.left.Observe().peers.at(0).endpoint ==
        Endpoint("192.0.2.3:51820"));
  CHECK(Passes(hosts.left, hosts.right));
}

TEMPLATE_TEST_CASE("wireguard_client: a new key is taken and passes packets",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  REQUIRE(Passes(hosts.left, hosts.right));
  const PrivateKey key = PrivateKey::Generate();
  hosts.left.wanted.private_key = key;
  hosts.right.wanted.peers[0].key = key.Public();
  hosts.left.Reconcile();
  hosts.right.Reconcile();
  CHECK(AgreesWithTool(hosts.left));
  CHECK(AgreesWithTool(hosts.right));
  CHECK(Passes(hosts.left, hosts.right));
}

TEMPLATE_TEST_CASE("wireguard_client: a port that is taken is refused by name",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  const Inside inside(hosts.left.network);
  UniqueFd taken(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in any{.sin_family = AF_INET, .sin_port = htons(40404)};
  REQUIRE(bind(taken.get(), reinterpret_cast<const sockaddr*>(&any),
               sizeof any) == 0);
  const absl::Status status =
      hosts.left.client->Apply(hosts.left.device, {.listen_port = 40404});
  CHECK(absl::IsFailedPrecondition(status));
  CHECK_THAT(std::string(Message(status)),
             Catch::Contains(hosts.left.device) &&
                 Catch::Contains("Address already in use"));
  hosts.left.Reconcile();
  CHECK(Passes(hosts.left, hosts.right));
}

TEMPLATE_TEST_CASE(
    "wireguard_client: a device is made once, and removed for good",
    "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  Host& host = hosts.left;
  const Inside inside(host.network);
  const Device before = host.Observe();
  CHECK(host.client->Ensure(host.device).ok());
  CHECK(host.Observe() == before);

  CHECK(host.client->Remove(host.device).ok());
  CHECK(if_nametoindex(host.device.c_str()) == 0);
  CHECK(absl::IsNotFound(host.client->Get(host.device).status()));
  CHECK(absl::IsNotFound(host.client->Apply(host.device, {.fwmark = 1})));
  CHECK(host.client->Remove(host.device).ok());

  CHECK(host.client->Ensure(host.device).ok());
  CHECK(host.Observe().peers.empty());
  host.Reconcile();
  CHECK(AgreesWithTool(host));
}

TEMPLATE_TEST_CASE("wireguard_client: a link of another kind is left alone",
                   "[wireguard_client]", Kernel, Userspace) {
  if (Skips(TestType::kBackend)) return;
  TwoHosts hosts(TestType::kBackend);
  const Inside inside(hosts.left.network);
  CHECK(absl::IsFailedPrecondition(hosts.left.client->Ensure("wire")));
  CHECK(!hosts.left.client->Get("wire").ok());
  hosts.left.client->Remove("wire").IgnoreError();
  CHECK(if_nametoindex("wire") != 0);
}

TEST_CASE("wireguard_client: starts again after wireguard-go was killed",
          "[wireguard_client]") {
  if (Skips(Backend::kUserspace)) return;
  TwoHosts hosts(Backend::kUserspace);
  Host& host = hosts.left;
  const Inside inside(host.network);
  // The program's own command line: --foreground and a name nobody else has.
  const pid_t pid = std::stoi(
      Run("pgrep -x -f '.*wireguard-go --foreground " + host.device + "'"));
  REQUIRE(kill(pid, SIGKILL) == 0);
  for (int i = 0; i < 100 && if_nametoindex(host.device.c_str()) != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(access(("/run/wireguard/" + host.device + ".sock").c_str(), F_OK) == 0);
  CHECK(absl::IsNotFound(host.client->Get(host.device).status()));

  host.MakeDevice(hosts.right);
  CHECK(Passes(host, hosts.right));
  CHECK(AgreesWithTool(host));
}

TEST_CASE("wireguard_client: auto is the kernel where it has WireGuard",
          "[wireguard_client]") {
  if (getuid() != 0) {
    std::printf("SKIPPED: it needs root\n");
    return;
  }
  const bool kernel = OpenKernelClient().ok();
  const auto client = OpenClient(BackendChoice::kAuto, kProgram);
  REQUIRE(client.ok());
  CHECK((*client)->backend() ==
        (kernel ? Backend::kKernel : Backend::kUserspace));
  CHECK((*OpenClient(BackendChoice::kUserspace, ""))->backend() ==
        Backend::kUserspace);
  const auto forced = OpenClient(BackendChoice::kKernel, kProgram);
  CHECK(forced.ok() == kernel);
  if (!kernel) {
    CHECK(absl::IsFailedPrecondition(forced.status()));
    CHECK_THAT(std::string(Message(forced.status())),
               Catch::StartsWith("this kernel has no WireGuard"));
  }
  CHECK(absl::IsFailedPrecondition(
      OpenClient(BackendChoice::kUserspace, "/nonexistent").status()));
}

}  // namespace
}  // namespace edged::wireguard
