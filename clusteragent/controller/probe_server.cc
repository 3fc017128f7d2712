#include "clusteragent/controller/probe_server.h"

#include <absl/strings/numbers.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/socket_address.h"
#include "common/status.h"

namespace edged::agent {
namespace {

constexpr int kBacklog = 64;
constexpr auto kAgain = std::chrono::seconds(1);  // without descriptors

absl::Status Failed(const SocketAddress& address) {
  return ErrnoStatus(errno, "probes on " + address.ToString());
}

std::string_view ReasonOf(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

}  // namespace

absl::StatusOr<SocketAddress> ParseBindAddress(std::string_view text) {
  if (text.starts_with(':')) {
    int port = 0;
    if (!absl::SimpleAtoi(absl::string_view(text.data() + 1, text.size() - 1),
                          &port) ||
        port < 1 || port > 65535) {
      return InvalidArgument("\"{}\" is not an address with a port", text);
    }
    return SocketAddress{*IpAddress::Parse("::"), static_cast<uint16_t>(port)};
  }
  return SocketAddress::Parse(text);
}

absl::StatusOr<std::unique_ptr<ProbeServer>> ProbeServer::Start(
    EventLoop& loop, const SocketAddress& address, Pages pages,
    const Limits& limits) {
  SocketAddress at = address;
  UniqueFd fd(socket(at.address.is_ipv4() ? AF_INET : AF_INET6,
                     SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd && errno == EAFNOSUPPORT && at.address.is_unspecified()) {
    at.address = *IpAddress::Parse("0.0.0.0");  // a kernel without IPv6
    fd.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  if (!fd) return Failed(at);
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.address.is_unspecified() && !at.address.is_ipv4()) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  const auto [storage, length] = ToSockaddr(at);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) !=
          0 ||
      listen(fd.get(), kBacklog) != 0) {
    return Failed(at);
  }
  std::unique_ptr<ProbeServer> server(
      new ProbeServer(loop, std::move(fd), std::move(pages), limits));
  RETURN_IF_ERROR(server->Listen());
  return server;
}

ProbeServer::ProbeServer(EventLoop& loop, UniqueFd listener, Pages pages,
                         const Limits& limits)
    : loop_(loop),
      listener_(std::move(listener)),
      pages_(std::move(pages)),
      limits_(limits) {}

ProbeServer::~ProbeServer() {
  loop_.Cancel(listen_timer_);
  loop_.Unwatch(listener_.get());
  while (!connections_.empty()) Close(connections_.begin()->first);
}

absl::Status ProbeServer::Listen() {
  return loop_.Watch(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
}

void ProbeServer::Accept() {
  UniqueFd fd(
      accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    if (errno != EMFILE && errno != ENFILE && errno != ENOMEM) return;
    // It waits in the queue, and would wake us for ever.
    loop_.Unwatch(listener_.get());
    listen_timer_ = loop_.After(kAgain, [this] {
      listen_timer_ = 0;
      Listen().IgnoreError();  // it could before
    });
    return;
  }
  if (connections_.size() >= limits_.connections) {
    const auto oldest = std::ranges::min_element(
        connections_, {},
        [](const auto& entry) { return entry.second.number; });
    Close(oldest->first);
  }
  const int number = fd.get();
  Connection& connection = connections_[number];
  connection.fd = std::move(fd);
  connection.number = ++accepted_;
  connection.timer =
      loop_.After(limits_.patience, [this, number] { Close(number); });
  const absl::Status watched =
      loop_.Watch(number, EPOLLIN, [this, number](uint32_t) { Read(number); });
  if (!watched.ok()) Close(number);
}

void ProbeServer::Read(int fd) {
  Connection& connection = connections_.at(fd);
  char bytes[2048];
  const ssize_t size = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) return Close(fd);
  connection.received.append(bytes, static_cast<size_t>(size));
  if (connection.received.size() > limits_.request) return Close(fd);
  if (connection.received.find("\r\n\r\n") == std::string::npos) return;
  // A few kilobytes at most: they fit, or the prober is none.
  const std::string answer = Answer(connection.received);
  send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  Close(fd);
}

void ProbeServer::Close(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  loop_.Cancel(found->second.timer);
  loop_.Unwatch(fd);
  connections_.erase(found);
}

std::string ProbeServer::Answer(std::string_view request) const {
  const std::string_view line = request.substr(0, request.find("\r\n"));
  ProbePage page{405, "GET alone\n"};
  if (line.starts_with("GET ")) {
    const std::string_view rest = line.substr(4);
    const auto found =
        pages_.find(std::string(rest.substr(0, rest.find_first_of(" ?"))));
    page = found == pages_.end() ? ProbePage{404, "no such page\n"}
                                 : found->second();
  }
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      page.code, ReasonOf(page.code), page.body.size(), page.body);
}

}  // namespace edged::agent
