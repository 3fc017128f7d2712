// Stands in for wireguard-go where hundreds of tunnels share one machine:
// packets go to the peer's endpoint as they are, and nothing is encrypted. It
// is told what to do as wireguard-go is.
//   usage: bench_tunnel --foreground DEVICE
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/net_types.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/bench/uapi_device.h"

namespace edged::bench {
namespace {

using Clock = std::chrono::system_clock;

constexpr size_t kMaxPacket = 65'535;
// As often as WireGuard shakes hands while packets come.
constexpr std::chrono::seconds kHandshake{120};
constexpr std::string_view kFolder = "/run/wireguard/";

// Of a packet of IPv4 or IPv6.
std::optional<IpAddress> AddressIn(std::span<const uint8_t> packet,
                                   bool source) {
  if (packet.empty()) return std::nullopt;
  const bool is_ipv4 = packet[0] >> 4 == 4;
  const size_t size = is_ipv4 ? 4 : 16;
  const size_t offset = (is_ipv4 ? 12 : 8) + (source ? 0 : size);
  if (packet.size() < offset + size) return std::nullopt;
  return IpAddress::FromBytes(packet.subspan(offset, size));
}

sockaddr_in ToIpv4(const SocketAddress& endpoint) {
  sockaddr_in address{.sin_family = AF_INET,
                      .sin_port = htons(endpoint.port),
                      .sin_addr = {},
                      .sin_zero = {}};
  std::memcpy(&address.sin_addr, endpoint.address.bytes().data(),
              sizeof address.sin_addr);
  return address;
}

SocketAddress FromIpv4(const sockaddr_in& address) {
  return {IpAddress::FromIpv4(ntohl(address.sin_addr.s_addr)),
          ntohs(address.sin_port)};
}

// A peer as packets need it.
struct Peer {
  std::string key;
  std::vector<IpPrefix> allowed;
  std::optional<sockaddr_in> endpoint;
  Clock::time_point handshake;
  uint64_t received = 0;
  uint64_t sent = 0;
};

class Tunnel {
 public:
  Tunnel(UniqueFd tun, UapiListener listener)
      : tun_(std::move(tun)), listener_(std::move(listener)) {
    device_.values["listen_port"] = "0";
    BindSocket();
  }

  [[noreturn]] void Run() {
    while (true) {
      pollfd ready[] = {{.fd = listener_.descriptor(), .events = POLLIN},
                        {.fd = tun_.get(), .events = POLLIN},
                        {.fd = socket_.get(), .events = POLLIN}};
      poll(ready, std::size(ready), -1);
      if (ready[0].revents != 0) {
        listener_.Serve([this](const std::string& text) { return Ask(text); });
        continue;  // the socket may be another one
      }
      if (ready[1].revents != 0) SendOne();
      if (ready[2].revents != 0) ReceiveOne();
    }
  }

 private:
  std::string Ask(const std::string& request) {
    Remember();
    const std::string answer = device_.Answer(request);
    if (request.starts_with("set=1\n")) TakeOver();
    return answer;
  }

  // What packets have shown of the peers.
  void Remember() {
    for (const Peer& peer : peers_) {
      auto& values = device_.peers[peer.key].values;
      if (peer.endpoint) {
        values["endpoint"] = FromIpv4(*peer.endpoint).ToString();
      }
      const auto seconds = std::chrono::floor<std::chrono::seconds>(
          peer.handshake.time_since_epoch());
      values["last_handshake_time_sec"] = fmt::format("{}", seconds.count());
      values["rx_bytes"] = fmt::format("{}", peer.received);
      values["tx_bytes"] = fmt::format("{}", peer.sent);
    }
  }

  // What a request has set. Every peer shakes hands anew.
  void TakeOver() {
    if (device_.values["listen_port"] != port_) BindSocket();
    std::vector<Peer> peers;
    for (const auto& [key, told] : device_.peers) {
      Peer peer{.key = key};
      for (const std::string& text : told.allowed_ips) {
        if (const auto prefix = IpPrefix::Parse(text); prefix.ok()) {
          peer.allowed.push_back(*prefix);
        }
      }
      const auto endpoint = told.values.find("endpoint");
      if (endpoint != told.values.end()) {
        const auto parsed = SocketAddress::Parse(endpoint->second);
        if (parsed.ok() && parsed->address.is_ipv4()) {
          peer.endpoint = ToIpv4(*parsed);
        }
      }
      peers.push_back(std::move(peer));
    }
    peers_ = std::move(peers);
  }

  void BindSocket() {
    socket_.reset(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    port_ = device_.values["listen_port"];
    address.sin_port = htons(static_cast<uint16_t>(std::stoul(port_)));
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_.get(), generic, size) != 0 ||
        getsockname(socket_.get(), generic, &size) != 0) {
      fmt::print(stderr, "bench_tunnel: port {}: {}\n", port_, strerror(errno));
      std::exit(1);
    }
    port_ = fmt::format("{}", ntohs(address.sin_port));
    device_.values["listen_port"] = port_;
  }

  // The peer with the longest prefix around `address`.
  Peer* FindPeer(const IpAddress& address) {
    Peer* found = nullptr;
    int length = -1;
    for (Peer& peer : peers_) {
      for (const IpPrefix& prefix : peer.allowed) {
        if (prefix.length() <= length || !prefix.Contains(address)) continue;
        found = &peer;
        length = prefix.length();
      }
    }
    return found;
  }

  void SendOne() {
    const ssize_t size = read(tun_.get(), packet_, sizeof packet_);
    if (size <= 0) return;
    const std::span<const uint8_t> packet(packet_, static_cast<size_t>(size));
    const auto address = AddressIn(packet, /*source=*/false);
    Peer* const peer = address ? FindPeer(*address) : nullptr;
    if (peer == nullptr || !peer->endpoint) return;
    peer->sent += packet.size();
    sendto(socket_.get(), packet.data(), packet.size(), 0,
           reinterpret_cast<const sockaddr*>(&*peer->endpoint),
           sizeof *peer->endpoint);
  }

  void ReceiveOne() {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t size = recvfrom(socket_.get(), packet_, sizeof packet_, 0,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    if (size <= 0) return;
    const std::span<const uint8_t> packet(packet_, static_cast<size_t>(size));
    const auto address = AddressIn(packet, /*source=*/true);
    Peer* const peer = address ? FindPeer(*address) : nullptr;
    if (peer == nullptr) return;
    peer->endpoint = from;
    peer->received += packet.size();
    const Clock::time_point now = Clock::now();
    if (now - peer->handshake > kHandshake) peer->handshake = now;
    [[maybe_unused]] const ssize_t written =
        write(tun_.get(), packet.data(), packet.size());
  }

  UniqueFd tun_;
  UapiListener listener_;
  UniqueFd socket_;
  std::string port_;  // of the socket
  UapiDevice device_;
  std::vector<Peer> peers_;
  uint8_t packet_[kMaxPacket];
};

absl::StatusOr<UniqueFd> OpenTun(const std::string& name) {
  UniqueFd tun(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (!tun || ioctl(tun.get(), TUNSETIFF, &request) != 0) {
    return ErrnoStatus(errno, name);
  }
  return tun;
}

int Run(const std::string& name) {
  auto tun = OpenTun(name);
  auto listener = UapiListener::Open(fmt::format("{}{}.sock", kFolder, name));
  for (const auto& status : {tun.status(), listener.status()}) {
    if (status.ok()) continue;
    fmt::print(stderr, "bench_tunnel: {}\n", Message(status));
    return 1;
  }
  Tunnel(*std::move(tun), *std::move(listener)).Run();
}

}  // namespace
}  // namespace edged::bench

int main(int argc, char** argv) {
  if (argc == 3 && argv[1] == std::string("--foreground")) {
    return edged::bench::Run(argv[2]);
  }
  fmt::print(stderr, "usage: bench_tunnel --foreground DEVICE\n");
  return 2;
}
