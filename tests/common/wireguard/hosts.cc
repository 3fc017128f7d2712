#include "tests/common/wireguard/hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <sstream>
#include <thread>

#include "common/status.h"
#include "tests/common/wireguard/devices.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::wireguard {
namespace {

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

}  // namespace

bool Skips(Backend backend) {
  const std::string reason = ReasonToSkip(backend);
  if (reason.empty()) return false;
  std::printf("SKIPPED: backend %s: %s\n", ToString(backend).data(),
              reason.c_str());
  return true;
}

Host::Host(Backend backend, char suffix, std::string_view underlay,
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

Host::~Host() {
  const Inside inside(network);
  CHECK(client->Remove(device).ok());
}

void Host::ConnectTo(const Host& other) {
  const Inside inside(network);
  Run(
      fmt::format("ip link add wire type veth peer name wire netns "
                  "/proc/{}/fd/{}",
                  getpid(), other.network.get()));
}

void Host::PlugIn() {
  const Inside inside(network);
  Run(fmt::format("ip address add {}/24 dev wire", underlay.ToString()));
  Run("ip link set wire up; ip link set lo up");
}

void Host::MakeDevice(const Host& other) {
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

void Host::Reconcile() {
  const Inside inside(network);
  const DeviceChange change = Diff(Observe(), wanted);
  INFO(change.ToString());
  const absl::Status applied = client->Apply(device, change);
  INFO(applied);
  REQUIRE(applied.ok());
  CHECK(Diff(Observe(), wanted).ToString() == "");
}

Device Host::Observe() {
  const Inside inside(network);
  auto observed = client->Get(device);
  INFO(observed.status());
  REQUIRE(observed.ok());
  return *std::move(observed);
}

TwoHosts::TwoHosts(Backend backend)
    : left(backend, 'l', "192.0.2.1", "10.200.0.1"),
      right(backend, 'r', "192.0.2.2", "10.200.0.2") {
  left.ConnectTo(right);
  left.PlugIn();
  right.PlugIn();
  left.MakeDevice(right);
  right.MakeDevice(left);
}

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

Device SeenByUs(Host& host) {
  Device device = host.Observe();
  for (Peer& peer : device.peers) {
    peer.last_handshake =
        std::chrono::floor<std::chrono::seconds>(peer.last_handshake);
  }
  return device;
}

bool AgreesWithTool(Host& host) {
  for (int round = 0; round < 20; ++round) {
    const Device ours = SeenByUs(host);
    if (ours == SeenByTool(host)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

}  // namespace edged::wireguard
