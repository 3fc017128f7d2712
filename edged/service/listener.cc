#include "edged/service/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include "common/net_types.h"
#include "common/socket_address.h"
#include "common/status.h"
#include "edged/service/relay.h"

namespace edged::edge {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kBacklog = 128;
// What everything but connections may still open: files, netlink sockets, those
// of userspace WireGuard, programs.
constexpr int kSpareDescriptors = 16;
// 63 uplinks and some people, at three a connection; each takes memory.
constexpr int kMostDescriptors = 320;
constexpr int kAcceptsPerTurn = 32;
constexpr auto kRest = std::chrono::milliseconds(500);
// As long as gRPC waits for the answer to a ping.
constexpr unsigned kUserTimeoutMilliseconds = 20'000;

// Descriptors get the lowest free number, so one with this number or a higher
// one is one too many.
int MostDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
      limit.rlim_cur > kMostDescriptors + kSpareDescriptors) {
    return kMostDescriptors;
  }
  return static_cast<int>(limit.rlim_cur) - kSpareDescriptors;
}

absl::Status NewSocket(int family, UniqueFd& socket) {
  socket.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return socket ? absl::OkStatus() : ErrnoStatus(errno, "socket");
}

template <typename Value>
absl::Status Set(const UniqueFd& socket, int level, int name, Value value) {
  return setsockopt(socket.get(), level, name, &value, sizeof value) == 0
             ? absl::OkStatus()
             : ErrnoStatus(errno, "setsockopt");
}

}  // namespace

Listener::Listener(const std::string& address, EventLoop& loop, Take take)
    : address_(address),
      loop_(loop),
      most_descriptors_(MostDescriptors()),
      take_(std::move(take)) {}

Listener::~Listener() { Close(); }

absl::StatusOr<std::shared_ptr<Listener>> Listener::Open(
    const std::string& address, EventLoop& loop, Take take) {
  const std::shared_ptr<Listener> listener(
      new Listener(address, loop, std::move(take)));
  if (const absl::Status bound = listener->Bind(); !bound.ok()) {
    return FailedPrecondition("cannot listen on {}: {}", address,
                              Message(bound));
  }
  loop.Post([weak = std::weak_ptr(listener)] {
    if (const auto self = weak.lock()) self->Watch();
  });
  return listener;
}

absl::Status Listener::Bind() {
  if (address_.starts_with(kUnixPrefix)) {
    RETURN_IF_ERROR(BindUnix(address_.substr(kUnixPrefix.size())));
  } else {
    RETURN_IF_ERROR(BindTcp());
  }
  return listen(socket_.get(), kBacklog) == 0 ? absl::OkStatus()
                                              : ErrnoStatus(errno, "listen");
}

absl::Status Listener::BindUnix(const std::string& path) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof name.sun_path) {
    return InvalidArgument("the path is longer than {} bytes",
                           sizeof name.sun_path - 1);
  }
  path.copy(name.sun_path, path.size());
  RETURN_IF_ERROR(NewSocket(AF_UNIX, socket_));
  struct stat found;
  if (lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) {
    unlink(path.c_str());
  }
  // Linux gives the file the mode of the socket, so nobody else can reach it
  // even for a moment.
  if (fchmod(socket_.get(), S_IRUSR | S_IWUSR) != 0 ||
      bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name),
           sizeof name) != 0) {
    return ErrnoStatus(errno, "bind");
  }
  path_ = path;
  return absl::OkStatus();
}

absl::Status Listener::BindTcp() {
  ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::Parse(address_));
  const auto [name, size] = ToSockaddr(address);
  RETURN_IF_ERROR(NewSocket(name.ss_family, socket_));
  // Connections inherit the last two.
  RETURN_IF_ERROR(Set(socket_, SOL_SOCKET, SO_REUSEADDR, 1));
  RETURN_IF_ERROR(Set(socket_, IPPROTO_TCP, TCP_NODELAY, 1));
  RETURN_IF_ERROR(
      Set(socket_, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMilliseconds));
  return bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name), size) ==
                 0
             ? absl::OkStatus()
             : ErrnoStatus(errno, "bind");
}

void Listener::Close() {
  {
    const MutexLock lock(mutex_);
    if (!take_) return;
    take_ = nullptr;
  }
  if (!path_.empty()) unlink(path_.c_str());
  // The loop may still hold the descriptor, but the address is free.
  shutdown(socket_.get(), SHUT_RDWR);
  const auto self = weak_from_this().lock();
  if (!self) return;  // being destroyed: the loop holds nothing of it
  loop_.Post([self] {
    if (self->watching_) self->loop_.Unwatch(self->socket_.get());
    self->watching_ = false;
    self->loop_.Cancel(std::exchange(self->rest_, 0));
    self->loop_.Cancel(std::exchange(self->expiry_, 0));
    self->socket_.reset();
  });
}

bool Listener::IsClosed() {
  const MutexLock lock(mutex_);
  return !take_;
}

void Listener::Watch() {
  if (watching_ || IsClosed()) return;
  const absl::Status status =
      loop_.Watch(socket_.get(), EPOLLIN, [weak = weak_from_this()](uint32_t) {
        if (const auto self = weak.lock()) self->AcceptSome();
      });
  watching_ = status.ok();
  if (!watching_) {
    Say("", std::string(Message(status)));
    Rest();
  }
}

void Listener::AcceptSome() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    UniqueFd connection(accept4(socket_.get(),
                                reinterpret_cast<sockaddr*>(&name), &size,
                                SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection) {
      const auto from = FromSockaddr(name);  // of a Unix socket there is none
      const std::string client = from.ok() ? from->address.ToString() : "";
      const absl::Status given =
          from.ok() ? HandRelayed(std::move(connection), from->address)
                    : Give(std::move(connection));
      if (!given.ok()) {
        Say(client, fmt::format("refused {}: {}",
                                client.empty() ? "a connection" : client,
                                Message(given)));
      }
      continue;
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK || IsClosed()) return;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS ||
        error == ENOMEM || error == EINVAL) {
      Say("", std::string(Message(ErrnoStatus(error, "accept"))));
      Rest();
      return;
    }
    // Of one connection that has gone already (accept(2), "Error handling").
  }
}

absl::Status Listener::HandRelayed(UniqueFd connection, const IpAddress& from) {
  const std::string client = from.ToString();
  ASSIGN_OR_RETURN(std::shared_ptr<ClientPace> pace, PaceOf(from));
  RETURN_IF_ERROR(CheckNumber(connection));
  ASSIGN_OR_RETURN(
      UniqueFd given,
      Relay::Start(loop_, std::move(connection), std::move(pace),
                   [weak = weak_from_this(), client](std::string_view what) {
                     const auto self = weak.lock();
                     if (self)
                       self->Say(client, fmt::format("{} {}", client, what));
                   }));
  return Give(std::move(given));
}

absl::Status Listener::Give(UniqueFd connection) {
  RETURN_IF_ERROR(CheckNumber(connection));
  const MutexLock lock(mutex_);
  if (take_) take_(std::move(connection));
  return absl::OkStatus();
}

absl::Status Listener::CheckNumber(const UniqueFd& connection) const {
  if (connection.get() < most_descriptors_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("{} descriptors are in use", most_descriptors_));
}

// ResourceExhausted where the client has too many connections, or comes too
// often: each costs as much as a call.
absl::StatusOr<std::shared_ptr<ClientPace>> Listener::PaceOf(
    const IpAddress& from) {
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(clients_, [now](const auto& entry) {
    return entry.second.use_count() == 1 && entry.second->calls.IsFull(now) &&
           entry.second->controls.IsFull(now);
  });
  std::shared_ptr<ClientPace>& pace = clients_[from];
  if (!pace) pace = std::make_shared<ClientPace>();
  const auto relays = static_cast<size_t>(pace.use_count() - 1);
  if (relays >= kMostOfOneAddress || !pace->calls.TryTake(now)) {
    return absl::ResourceExhaustedError(
        relays >= kMostOfOneAddress
            ? fmt::format("it has {} connections already", relays)
            : "it comes too often");
  }
  return pace;
}

void Listener::Say(const std::string& client, const std::string& what) {
  const auto line =
      complaints_.Take(client, what, std::chrono::steady_clock::now());
  if (!line) return;
  spdlog::warn("api {}: {}", address_, *line);
  if (expiry_ == 0) ArmExpiry();
}

void Listener::ArmExpiry() {
  const auto next = complaints_.next();
  if (!next) return;
  expiry_ = loop_.After(
      *next - std::chrono::steady_clock::now(), [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->expiry_ = 0;
        for (const std::string& line :
             self->complaints_.Expire(std::chrono::steady_clock::now())) {
          spdlog::warn("api {}: {}", self->address_, line);
        }
        self->ArmExpiry();
      });
}

// Where nothing can be accepted, the socket stays readable: looks again later.
void Listener::Rest() {
  if (watching_) loop_.Unwatch(socket_.get());
  watching_ = false;
  rest_ = loop_.After(kRest, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->rest_ = 0;
    self->Watch();
  });
}

}  // namespace edged::edge
