#include "edged/system/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "common/unique_fd.h"

namespace edged::edge {
namespace {

std::string Variable(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

ServiceManager::ServiceManager() : socket_(Variable("NOTIFY_SOCKET")) {
  const std::string text = Variable("WATCHDOG_USEC");
  uint64_t limit = 0;
  std::from_chars(text.data(), text.data() + text.size(), limit);
  if (limit > 1) alive_interval_ = std::chrono::microseconds(limit / 2);
}

void ServiceManager::Ready(std::string_view status) const {
  Send(fmt::format("READY=1\nSTATUS={}", status));
}

void ServiceManager::Stopping() const { Send("STOPPING=1"); }

void ServiceManager::Alive() const { Send("WATCHDOG=1"); }

void ServiceManager::Send(std::string_view message) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path) return;
  memcpy(address.sun_path, socket_.data(), socket_.size());
  // An abstract socket is spelled with an @ in place of its first zero byte.
  if (socket_.front() == '@') address.sun_path[0] = '\0';
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sendto(
      fd.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
      reinterpret_cast<const sockaddr*>(&address),
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size()));
}

}  // namespace edged::edge
