#include "common/namespace_lock.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "common/status.h"

namespace edged {

absl::StatusOr<NamespaceLock> NamespaceLock::Take(std::string_view kind) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The leading 0 byte makes the name abstract; it has no final one.
  const std::string name = fmt::format("edged.dev/{}", kind);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoStatus(errno, "lock of this network namespace");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) ==
      0) {
    return NamespaceLock(std::move(fd));
  }
  if (errno == EADDRINUSE) {
    return FailedPrecondition(
        "another {} runs in this network namespace already", kind);
  }
  return ErrnoStatus(errno, "lock of this network namespace");
}

}  // namespace edged
