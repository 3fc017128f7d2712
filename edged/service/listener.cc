#include "edged/service/listener.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <string_view>
#include <utility>

#include "common/net_types.h"
#include "common/socket_address.h"
#include "common/status.h"

namespace edged::edge {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kBacklog = 128;
// What everything but connections may still open: files, netlink sockets, those
// of userspace WireGuard, programs.
constexpr int kSpareDescriptors = 16;
// 63 uplinks and some people; each connection takes memory.
constexpr int kMostDescriptors = 320;
constexpr int kAcceptsPerTurn = 32;
constexpr auto kRest = std::chrono::milliseconds(500);
constexpr auto kQuiet = std::chrono::seconds(60);
// Agents and tools take all that they are sent: these bytes on their way to one
// are many only while it loads much, and then it sends little.
constexpr uint32_t kManyWaiting = 16 << 10;
constexpr uint64_t kMostWithoutTaking = 64 << 10;
constexpr auto kGreedyInterval = std::chrono::milliseconds(100);
// Who was hung up on begins anew after this time.
constexpr auto kBan = std::chrono::seconds(5);
// As long as gRPC waits for the answer to a ping.
constexpr unsigned kUserTimeoutMilliseconds = 20'000;

// Descriptors get the lowest free number, so a connection with this number or a
// higher one is one too many.
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
    self->loop_.Cancel(std::exchange(self->greedy_, 0));
    self->loop_.Cancel(std::exchange(self->rest_, 0));
    self->loop_.Cancel(std::exchange(self->quiet_, 0));
    self->socket_.reset();
  });
}

void Listener::HangUp(int fd) {
  loop_.Post([weak = weak_from_this(), fd] {
    const auto self = weak.lock();
    if (!self) return;
    self->ForgetClosed();
    for (const Connection& connection : self->connections_) {
      if (connection.fd == fd) self->HangUp(connection, "calls too often");
    }
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
    Refuse(std::string(Message(status)));
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
      const auto from = FromSockaddr(name);
      Hand(std::move(connection),
           from.ok() ? std::optional(from->address) : std::nullopt);
      continue;
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK || IsClosed()) return;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS ||
        error == ENOMEM || error == EINVAL) {
      Refuse(std::string(Message(ErrnoStatus(error, "accept"))));
      Rest();
      return;
    }
    // Of one connection that has gone already (accept(2), "Error handling").
  }
}

void Listener::Hand(UniqueFd connection, const std::optional<IpAddress>& from) {
  if (connection.get() >= most_descriptors_) {
    connection.reset();
    Refuse(fmt::format("{} descriptors are in use", most_descriptors_));
    return;
  }
  if (from) {
    if (IsBanned(*from)) return;
    if (ConnectionsOf(*from) >= kMostOfOneAddress) {
      connection.reset();
      Refuse(fmt::format("{} has {} already", from->ToString(),
                         kMostOfOneAddress));
      return;
    }
    struct stat file {};
    fstat(connection.get(), &file);
    connections_.push_back({connection.get(), file.st_ino, *from});
    if (greedy_ == 0) HangUpOnGreedy();
  }
  const MutexLock lock(mutex_);
  if (take_) take_(std::move(connection));
}

// A descriptor is closed on another thread, but opened on this one alone (gRPC
// opens none for a connection): while it has the socket's inode, it is ours.
void Listener::ForgetClosed() {
  std::erase_if(connections_, [](const Connection& connection) {
    struct stat file {};
    return fstat(connection.fd, &file) != 0 || !S_ISSOCK(file.st_mode) ||
           file.st_ino != connection.inode;
  });
}

size_t Listener::ConnectionsOf(const IpAddress& from) {
  ForgetClosed();
  return static_cast<size_t>(
      std::ranges::count(connections_, from, &Connection::from));
}

// What waits to be read would still be read, and a call takes 7 KB where its
// bytes take a hundred: it is thrown away.
void Listener::HangUp(const Connection& connection, std::string_view why) {
  shutdown(connection.fd, SHUT_RDWR);
  recv(connection.fd, nullptr, std::numeric_limits<int>::max(),
       MSG_TRUNC | MSG_DONTWAIT);
  banned_until_[connection.from] = SteadyClock::now() + kBan;
  Refuse(fmt::format("{} {}", connection.from.ToString(), why));
}

bool Listener::IsBanned(const IpAddress& from) {
  const auto now = SteadyClock::now();
  std::erase_if(banned_until_,
                [now](const auto& entry) { return entry.second <= now; });
  return banned_until_.contains(from);
}

void Listener::HangUpOnGreedy() {
  greedy_ = 0;
  ForgetClosed();
  for (Connection& connection : connections_) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(connection.fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
      continue;
    }
    if (info.tcpi_notsent_bytes < kManyWaiting) {
      connection.sent_before.reset();
    } else if (!connection.sent_before) {
      connection.sent_before = info.tcpi_bytes_received;
    } else if (info.tcpi_bytes_received - *connection.sent_before >
               kMostWithoutTaking) {
      HangUp(connection, "takes no answers");
    }
  }
  if (connections_.empty()) return;
  greedy_ = loop_.After(kGreedyInterval, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->HangUpOnGreedy();
  });
}

// Says so, but not for each of them.
void Listener::Refuse(const std::string& why) {
  if (quiet_ != 0) {
    ++refused_;
    return;
  }
  spdlog::warn("api: refusing connections on {}: {}", address_, why);
  quiet_ = loop_.After(kQuiet, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->quiet_ = 0;
    const size_t refused = std::exchange(self->refused_, 0);
    if (refused == 0) return;
    spdlog::warn("api: refused {} more connections on {} within a minute",
                 refused, self->address_);
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
