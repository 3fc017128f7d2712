// Both backends against a real WireGuard and against the wg tool, each host in
// a network namespace of its own.

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <sstream>
#include <string>
#include <thread>

#include "common/netlink/rtnetlink.h"
#include "common/status.h"
#include "common/wireguard/client.h"
#include "tests/common/wireguard/devices.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::wireguard {
namespace {

constexpr char kProgram[] = "/usr/bin/wireguard-go";

// Why a backend cannot be tried here; empty when it can.
std::string ReasonToSkip(Backend backend) {
  if (getuid() != 0) return "it needs root";
  if (access("/usr/bin/wg", X_OK) != 0) return "there is no wg tool";
  if (backend == Backend::kKernel) {
    return std::string(Message(OpenKernelClient().status()));
  }
  if (access(kProgram, X_OK) != 0) return "there is no wireguard-go";
  return access("/dev/net/tun", R_OK | W_OK) == 0 ? "" : "no /dev/net/tun";
}

// UAPI sockets of all namespaces share a folder.
std::string RandomName(char suffix) {
  static std::random_device random;
  return fmt::format("ew{:08x}{}", random(), suffix);
}

// One end: a namespace with a veth to the other, a WireGuard device, and an
// overlay address on it.
class Host {
 public:
  Host(Backend backend, char suffix, std::string_view underlay,
       std::string_view overlay)
      : network(NewNetwork()),
        device(RandomName(suffix)),
        key(PrivateKey::Generate()),
        underlay(IpAddress::Parse(underlay).value()),
        overlay(IpAddress::Parse(overlay).value()) {
    const Inside inside(network);
    if (backend == Backend::kUserspace) {
      client = OpenUserspaceClient(kProgram);
    } else {
      auto opened = OpenKernelClient();
      REQUIRE(opened.ok());
      client = *std::move(opened);
    }
    REQUIRE(client->backend() == backend);
  }
  ~Host() {
    const Inside inside(network);
    CHECK(client->Remove(device).ok());
  }

  void ConnectTo(const Host& other) {
    const Inside inside(network);
    Run(
        fmt::format("ip link add wire type veth peer name wire netns "
                    "/proc/{}/fd/{}",
                    getpid(), other.network.get()));
  }

  void PlugIn() {
    const Inside inside(network);
    Run(fmt::format("ip address add {}/24 dev wire", underlay.ToString()));
    Run("ip link set wire up; ip link set lo up");
  }

  void MakeDevice(const Host& other) {
    wanted = {.name = device, .private_key = key, .listen_port = 51820};
    wanted.peers.push_back({.key = other.key.Public(),
                            .endpoint = SocketAddress{other.underlay, 51820},
                            .allowed_ips = {IpPrefix::Host(other.overlay)}});
    const Inside inside(network);
    const absl::Status made = client->Ensure(device);
    INFO(made);
    REQUIRE(made.ok());
    Reconcile();
    Run(fmt::format("ip address add {}/24 dev {}", overlay.ToString(), device));
    Run(fmt::format("ip link set {} up", device));
  }

  // Makes the device as wanted, and checks that it is.
  void Reconcile() {
    const Inside inside(network);
    const DeviceChange change = Diff(Observe(), wanted);
    INFO(change.ToString());
    const absl::Status applied = client->Apply(device, change);
    INFO(applied);
    REQUIRE(applied.ok());
    CHECK(Diff(Observe(), wanted).ToString() == "");
  }

  Device Observe() {
    const Inside inside(network);
    auto observed = client->Get(device);
    INFO(observed.status());
    REQUIRE(observed.ok());
    return *std::move(observed);
  }

  const UniqueFd network;
  const std::string device;
  const PrivateKey key;
  IpAddress underlay;
  const IpAddress overlay;
  std::unique_ptr<Client> client;
  Device wanted;
};

struct TwoHosts {
  explicit TwoHosts(Backend backend)
      : left(backend, 'l', "192.0.2.1", "10.200.0.1"),
        right(backend, 'r', "192.0.2.2", "10.200.0.2") {
    left.ConnectTo(right);
    left.PlugIn();
    right.PlugIn();
    left.MakeDevice(right);
    right.MakeDevice(left);
  }
  Host left;
  Host right;
};

sockaddr_in SocketAddressOf(const IpAddress& address) {
  sockaddr_in result{.sin_family = AF_INET, .sin_port = htons(7000)};
  std::copy_n(address.bytes().data(), 4,
              reinterpret_cast<uint8_t*>(&result.sin_addr));
  return result;
}

UniqueFd UdpSocket(const Host& host) {
  const Inside inside(host.network);
  UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in local = SocketAddressOf(host.overlay);
  REQUIRE(bind(fd.get(), reinterpret_cast<const sockaddr*>(&local),
               sizeof local) == 0);
  return fd;
}

// Whether a datagram from one overlay address reaches the other within 10 s.
bool Passes(const Host& from, const Host& to) {
  const UniqueFd sender = UdpSocket(from);
  const UniqueFd receiver = UdpSocket(to);
  const sockaddr_in target = SocketAddressOf(to.overlay);
  for (int round = 0; round < 40; ++round) {
    (void)!sendto(sender.get(), "ping", 4, 0,
                  reinterpret_cast<const sockaddr*>(&target), sizeof target);
    pollfd readable{.fd = receiver.get(), .events = POLLIN};
    if (poll(&readable, 1, 250) > 0) {
      char bytes[8];
      return recv(receiver.get(), bytes, sizeof bytes, 0) == 4;
    }
  }
  return false;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    parts.push_back(part);
  }
  return parts;
}

// A line of `wg show DEVICE dump`.
Peer PeerOfTool(const std::vector<std::string>& fields) {
  REQUIRE(fields.size() == 8);
  Peer peer{.key = PublicKey::Parse(fields[0]).value()};
  if (fields[2] != "(none)") peer.endpoint = Endpoint(fields[2]);
  if (fields[3] != "(none)") {
    for (const std::string& text : Split(fields[3], ',')) {
      peer.allowed_ips.push_back(Prefix(text));
    }
  }
  std::ranges::sort(peer.allowed_ips);
  peer.last_handshake = std::chrono::system_clock::time_point(
      std::chrono::seconds(std::stoll(fields[4])));
  peer.received_bytes = std::stoull(fields[5]);
  peer.sent_bytes = std::stoull(fields[6]);
  if (fields[7] != "off") peer.keepalive_seconds = std::stoi(fields[7]);
  return peer;
}

// The device as the wg tool sees it.
Device SeenByTool(const Host& host) {
  const Inside inside(host.network);
  const auto lines =
      Split(Run(fmt::format("wg show {} dump", host.device)), '\n');
  REQUIRE(!lines.empty());
  const auto fields = Split(lines[0], '\t');
  REQUIRE(fields.size() == 4);
  Device device{.name = host.device};
  if (fields[0] != "(none)") {
    device.private_key = PrivateKey::Parse(fields[0]).value();
    device.public_key = PublicKey::Parse(fields[1]).value();
  }
  device.listen_port = static_cast<uint16_t>(std::stoi(fields[2]));
  if (fields[3] != "off") {
    device.fwmark = static_cast<uint32_t>(std::stoul(fields[3], nullptr, 16));
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    device.peers.push_back(PeerOfTool(Split(lines[i], '\t')));
  }
  std::ranges::sort(device.peers, {}, &Peer::key);
  return device;
}

// Ours, with handshakes in whole seconds as the tool prints them.
Device SeenByUs(Host& host) {
  Device device = host.Observe();
  for (Peer& peer : device.peers) {
    peer.last_handshake =
        std::chrono::floor<std::chrono::seconds>(peer.last_handshake);
  }
  return device;
}

// Counters may move between two looks.
bool AgreesWithTool(Host& host) {
  for (int round = 0; round < 20; ++round) {
    const Device ours = SeenByUs(host);
    if (ours == SeenByTool(host)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

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

#define FOR_EACH_BACKEND_OR_SKIP(backend)                                  \
  const Backend backend = GENERATE(Backend::kKernel, Backend::kUserspace); \
  INFO("backend " << ToString(backend));                                   \
  if (const std::string reason = ReasonToSkip(backend); !reason.empty()) { \
    WARN("skipped for " << ToString(backend) << ": " << reason);           \
    return;                                                                \
  }

TEST_CASE("wireguard_client: a packet passes, and the wg tool agrees",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: what the wg tool set is what we read",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: changes leave a running session alone",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: thousands of allowed ips span messages",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: two peers exchange their prefixes",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: a preshared key that somebody set stays",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: a peer that has gone is not made by a change",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: follows a peer that roams, and calls it no drift",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: an endpoint set anew leaves a lost own address",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: a new key is taken and passes packets",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: a port that is taken is refused by name",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: a device is made once, and removed for good",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
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

TEST_CASE("wireguard_client: a link of another kind is left alone",
          "[wireguard_client]") {
  FOR_EACH_BACKEND_OR_SKIP(backend);
  TwoHosts hosts(backend);
  const Inside inside(hosts.left.network);
  CHECK(absl::IsFailedPrecondition(hosts.left.client->Ensure("wire")));
  CHECK(!hosts.left.client->Get("wire").ok());
  hosts.left.client->Remove("wire").IgnoreError();
  CHECK(if_nametoindex("wire") != 0);
}

TEST_CASE("wireguard_client: starts again after wireguard-go was killed",
          "[wireguard_client]") {
  if (const std::string reason = ReasonToSkip(Backend::kUserspace);
      !reason.empty()) {
    WARN("skipped: " << reason);
    return;
  }
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
    WARN("skipped: it needs root");
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
