#include "common/wireguard/uapi_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/status.h"
#include "common/unique_fd.h"
#include "common/wireguard/uapi_codec.h"

namespace edged::wireguard {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kReplyLimit = 16 << 20;
constexpr size_t kReadBytes = 64 << 10;

int MillisecondsLeft(Clock::time_point deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

absl::StatusOr<UniqueFd> Connect(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("{} is too long for a socket's path", path);
  }
  std::ranges::copy(path, address.sun_path);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoStatus(errno, "open a Unix socket");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof address) == 0) {
    return fd;
  }
  if (errno == ECONNREFUSED || errno == ENOENT) {
    return absl::NotFoundError(
        fmt::format("no wireguard-go listens at {}", path));
  }
  return ErrnoStatus(errno, fmt::format("connect to {}", path));
}

absl::Status Wait(const UniqueFd& fd, short events,
                  Clock::time_point deadline) {
  pollfd wanted{.fd = fd.get(), .events = events};
  const int ready = poll(&wanted, 1, MillisecondsLeft(deadline));
  if (ready > 0) return absl::OkStatus();
  if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
  if (Clock::now() < deadline) return absl::OkStatus();
  return Unavailable("it did not answer in time");
}

absl::Status SendAll(const UniqueFd& fd, std::string_view bytes,
                     Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent =
        send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EPIPE) {
      // wireguard-go stops reading at the first line that it refuses; its
      // reply says why.
      return absl::OkStatus();
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(Wait(fd, POLLOUT, deadline));
    } else if (errno != EINTR) {
      return Unavailable("send: {}", std::strerror(errno));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretText> ReceiveReply(const UniqueFd& fd,
                                        Clock::time_point deadline) {
  SecretText reply;
  while (!reply.ends_with("\n\n")) {
    const size_t size = reply.size();
    if (size >= kReplyLimit) {
      return absl::OutOfRangeError("the reply is longer than 16 MiB");
    }
    reply.resize(size + kReadBytes);
    const ssize_t received = recv(fd.get(), reply.data() + size, kReadBytes, 0);
    const int error = errno;
    reply.resize(size + static_cast<size_t>(std::max<ssize_t>(received, 0)));
    if (received == 0) return Unavailable("it hung up before its reply's end");
    if (received > 0 || error == EINTR) continue;
    if (error != EAGAIN) {
      return Unavailable("receive: {}", std::strerror(error));
    }
    RETURN_IF_ERROR(Wait(fd, POLLIN, deadline));
  }
  return reply;
}

absl::StatusOr<SecretText> Ask(const UniqueFd& fd, std::string_view request,
                               Clock::time_point deadline) {
  RETURN_IF_ERROR(SendAll(fd, request, deadline));
  return ReceiveReply(fd, deadline);
}

std::string Server(const std::string& path) {
  return fmt::format("wireguard-go at {}", path);
}

}  // namespace

absl::Status ProbeUapi(const std::string& path) {
  return Connect(path).status();
}

absl::StatusOr<SecretText> AskUapi(const std::string& path,
                                   std::string_view request,
                                   std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  ASSIGN_OR_RETURN(const UniqueFd fd, Connect(path));
  auto reply = Ask(fd, request, deadline);
  if (!reply.ok()) return Annotate(reply.status(), Server(path));
  return reply;
}

absl::Status EndUapi(const std::string& path,
                     std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  ASSIGN_OR_RETURN(const UniqueFd fd, Connect(path));
  // Its answer means that it has accepted this connection, which it then keeps
  // until it ends. (Its link goes earlier than its port.)
  RETURN_IF_ERROR(Annotate(Ask(fd, kUapiGet, deadline).status(), Server(path)));
  if (unlink(path.c_str()) < 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "remove " + path);
  }
  char byte;
  while (recv(fd.get(), &byte, 1, 0) < 0 &&
         (errno == EAGAIN || errno == EINTR)) {
    if (!Wait(fd, POLLIN, deadline).ok()) {
      return Unavailable("{} has not ended", Server(path));
    }
  }
  return absl::OkStatus();
}

}  // namespace edged::wireguard
