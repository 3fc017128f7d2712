#include "clusteragent/uplink/heartbeat_sender.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "clusteragent/core/path_search.h"
#include "common/protocol/path_probe.h"
#include "common/protocol/tunnel_mtu.h"
#include "common/socket_address.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace edged::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

// So that a flood of datagrams cannot keep the loop from its other work.
constexpr int kMostPerWakeup = 64;
constexpr auto kLeastProbePause = std::chrono::milliseconds(1);

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
    loop_.Cancel(probe_timer_);
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

  void Say(const Word& word, const protocol::Digest& applied) override {
    said_ = true;
    heartbeat_.ready = word.ready;
    heartbeat_.draining = word.draining;
    heartbeat_.applied = applied;
    Send();
  }

  bool is_up() const override { return up_; }

  void ResumeMtu(uint32_t mtu) override { search_.Resume(mtu); }
  void SetMtu(uint32_t mtu) override {
    search_.SetOwn(mtu, SteadyClock::now());
    known_mtu_ = search_.mtu();  // the caller asks
    Probe();
  }
  void SearchAnew() override {
    search_.Begin(SteadyClock::now());
    Probe();
  }
  uint32_t mtu() const override { return search_.mtu(); }

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
      const ssize_t size =
          recv(fd_.get(), bytes_.data(), bytes_.size(), MSG_DONTWAIT);
      if (size < 0) break;
      const std::span<const uint8_t> received(bytes_.data(),
                                              static_cast<size_t>(size));
      const auto now = SteadyClock::now();
      if (protocol::DecodeHeartbeat(received).ok()) {
        last_echo_ = now;
        search_.Heard(now);
      } else if (const auto probe = protocol::DecodePathProbe(received);
                 probe.ok()) {
        TakeProbe(*probe, received.size(), now);
      }
    }
    Judge();
    Probe();
  }

  void TakeProbe(const protocol::PathProbe& probe, size_t payload,
                 SteadyClock::time_point now) {
    const uint32_t size =
        protocol::PacketSize(options_.edge.address.family(), payload);
    const PathSearch::Probe echo{
        probe.number, size < protocol::kLeastMtu ? 0 : size, probe.uplink_mtu};
    search_.Echoed(echo, probe.edge_mtu, now);
  }

  // Only while small packets come through: else nothing is learnt.
  void Probe() {
    loop_.Cancel(std::exchange(probe_timer_, 0));
    if (!up_) return;
    const auto now = SteadyClock::now();
    if (const auto probe = search_.Next(now)) {
      const std::string bytes =
          Encode(protocol::PathProbe{probe->number, probe->uplink_mtu},
                 options_.edge.address.family(), probe->size);
      const auto [storage, length] = ToSockaddr(options_.edge);
      sendto(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT,
             reinterpret_cast<const sockaddr*>(&storage), length);
    }
    if (search_.mtu() != 0) {
      const auto wait = search_.due() - now;
      probe_timer_ =
          loop_.After(std::max<EventLoop::Duration>(wait, kLeastProbePause),
                      [this] { Probe(); });
    }
    if (std::exchange(known_mtu_, search_.mtu()) != search_.mtu()) changed_();
  }

  void Judge() {
    const bool up =
        last_echo_ && SteadyClock::now() - *last_echo_ <
                          options_.interval * (options_.threshold + 1);
    if (std::exchange(up_, up) == up) return;
    if (up) search_.Begin(SteadyClock::now());
    Probe();
    changed_();
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
  PathSearch search_;
  uint32_t known_mtu_ = 0;  // to whoever is told of changes
  EventLoop::TimerId probe_timer_ = 0;
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(UINT16_MAX);
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
  RETURN_IF_ERROR(Annotate(SendWhole(fd.get(), options.own.family()), what));
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
