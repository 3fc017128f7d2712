#include "edged/system/heartbeat_server.h"

#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "common/protocol/bytes.h"
#include "common/protocol/overlay.h"
#include "common/socket_address.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace edged::edge {
namespace {

// So that a flood of datagrams cannot keep the loop from its other work.
constexpr int kMostPerWakeup = 64;

class UdpHeartbeatServer final : public HeartbeatServer {
 public:
  UdpHeartbeatServer(EventLoop& loop, UniqueFd fd, Family family,
                     Receive receive, Probed probed)
      : loop_(loop),
        fd_(std::move(fd)),
        family_(family),
        receive_(std::move(receive)),
        probed_(std::move(probed)) {}

  ~UdpHeartbeatServer() override { loop_.Unwatch(fd_.get()); }

  void Greet(const IpAddress& uplink) override {
    const auto [to, length] =
        ToSockaddr(SocketAddress{uplink, protocol::kApiPort});
    sendto(fd_.get(), nullptr, 0, MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&to), length);
  }

  absl::Status Watch() {
    return loop_.Watch(fd_.get(), EPOLLIN, [this](uint32_t) { Read(); });
  }

 private:
  void Read() {
    for (int i = 0; i < kMostPerWakeup; ++i) {
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      const ssize_t size =
          recvfrom(fd_.get(), bytes_.data(), bytes_.size(), MSG_DONTWAIT,
                   reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 0) return;  // EAGAIN, or an ICMP error of an earlier answer
      const std::span received(bytes_.data(), static_cast<size_t>(size));
      const auto sender = FromSockaddr(from);
      if (!sender.ok()) continue;
      const auto heartbeat = protocol::DecodeHeartbeat(received);
      if (heartbeat.ok()) {
        Answer(received, from, length);
        receive_(sender->address, *heartbeat);
        continue;
      }
      auto probe = protocol::DecodePathProbe(received);
      if (!probe.ok()) continue;
      const auto mtu = probed_(sender->address, *probe);
      if (!mtu) continue;
      probe->edge_mtu = *mtu;
      const std::string echo = Encode(
          *probe, family_, protocol::PacketSize(family_, received.size()));
      Answer(protocol::AsBytes(echo), from, length);
    }
  }

  void Answer(std::span<const uint8_t> bytes, const sockaddr_storage& to,
              socklen_t length) {
    sendto(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&to), length);
  }

  EventLoop& loop_;
  UniqueFd fd_;
  const Family family_;
  const Receive receive_;
  const Probed probed_;
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(UINT16_MAX);
};

}  // namespace

absl::StatusOr<std::unique_ptr<HeartbeatServer>> HeartbeatServer::Start(
    EventLoop& loop, const IpAddress& address, const std::string& device,
    Receive receive, Probed probed) {
  const SocketAddress local{address, protocol::kApiPort};
  const std::string what = "heartbeats on udp " + local.ToString();
  UniqueFd fd(socket(address.is_ipv4() ? AF_INET : AF_INET6,
                     SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoStatus(errno, what);
  if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device.data(),
                 static_cast<socklen_t>(device.size())) != 0) {
    return ErrnoStatus(errno, what + " on " + device);
  }
  RETURN_IF_ERROR(Annotate(SendWhole(fd.get(), address.family()), what));
  const auto [storage, length] = ToSockaddr(local);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) !=
      0) {
    return ErrnoStatus(errno, what);
  }
  auto server = std::make_unique<UdpHeartbeatServer>(
      loop, std::move(fd), address.family(), std::move(receive),
      std::move(probed));
  RETURN_IF_ERROR(server->Watch());
  return server;
}

}  // namespace edged::edge
