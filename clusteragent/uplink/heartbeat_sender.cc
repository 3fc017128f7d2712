#include "clusteragent/uplink/heartbeat_sender.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "common/socket_address.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace edged::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

// So that a flood of datagrams cannot keep the loop from its other work.
constexpr int kMostPerWakeup = 64;

class UdpHeartbeatSender final : public HeartbeatSender {
 public:
  UdpHeartbeatSender(EventLoop& loop, UniqueFd fd, const Options& options,
                     std::function<void()> changed)
      : loop_(loop),
        fd_(std::move(fd)),
        options_(options),
        changed_(std::move(changed)) {}

  ~UdpHeartbeatSender() override {
    loop_.Cancel(timer_);
    loop_.Unwatch(fd_.get());
  }

  absl::Status Begin() {
    RETURN_IF_ERROR(
        loop_.Watch(fd_.get(), EPOLLIN, [this](uint32_t) { Read(); }));
    timer_ = loop_.Every(options_.interval, [this] {
      Send();
      Judge();
    });
    return absl::OkStatus();
  }

  void Say(bool ready, const protocol::Digest& applied) override {
    said_ = true;
    heartbeat_.ready = ready;
    heartbeat_.applied = applied;
    Send();
  }

  bool is_up() const override { return up_; }

  bool hears() const override {
    return last_echo_ &&
           SteadyClock::now() - *last_echo_ < options_.interval * 5 / 2;
  }

 private:
  void Send() {
    if (!said_) return;
    ++heartbeat_.sequence;
    const std::string bytes = Encode(heartbeat_);
    const auto [storage, length] = ToSockaddr(options_.edge);
    // A lost datagram, or one that cannot be sent, is what heartbeats are for.
    sendto(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&storage), length);
  }

  void Read() {
    for (int i = 0; i < kMostPerWakeup; ++i) {
      uint8_t bytes[256];
      const ssize_t size = recv(fd_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (size < 0) break;
      const auto echo = protocol::DecodeHeartbeat(
          std::span<const uint8_t>(bytes, static_cast<size_t>(size)));
      if (echo.ok()) last_echo_ = SteadyClock::now();
    }
    Judge();
  }

  void Judge() {
    const bool up =
        last_echo_ && SteadyClock::now() - *last_echo_ <
                          options_.interval * (options_.threshold + 1);
    if (std::exchange(up_, up) != up) changed_();
  }

  EventLoop& loop_;
  UniqueFd fd_;
  const Options options_;
  const std::function<void()> changed_;
  protocol::Heartbeat heartbeat_;
  bool said_ = false;
  std::optional<SteadyClock::time_point> last_echo_;
  bool up_ = false;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HeartbeatSender>> HeartbeatSender::Start(
    EventLoop& loop, const Options& options, std::function<void()> changed) {
  const std::string what = "heartbeats to " + options.edge.ToString();
  UniqueFd fd(socket(options.own.is_ipv4() ? AF_INET : AF_INET6,
                     SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoStatus(errno, what);
  if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, options.device.data(),
                 static_cast<socklen_t>(options.device.size())) != 0) {
    return ErrnoStatus(errno, what + " on " + options.device);
  }
  const auto [storage, length] = ToSockaddr({options.own, 0});
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) !=
      0) {
    return ErrnoStatus(errno, what + " from " + options.own.ToString());
  }
  auto sender = std::make_unique<UdpHeartbeatSender>(
      loop, std::move(fd), options, std::move(changed));
  RETURN_IF_ERROR(sender->Begin());
  return sender;
}

}  // namespace edged::agent
