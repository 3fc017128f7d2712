#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/net_types.h"
#include "common/unique_fd.h"

namespace edged::agent {

// ":8081" (all addresses, both families), "127.0.0.1:8081", "[::1]:8081".
absl::StatusOr<SocketAddress> ParseBindAddress(std::string_view text);

struct ProbePage {
  int code = 200;  // or 503
  std::string body;
};

// Answers the kubelet and Prometheus on the loop: GET alone, of a few short
// pages that are made when they are asked for. One request for a connection,
// which is then closed; nobody gets more than a few.
class ProbeServer {
 public:
  using Pages = std::map<std::string, std::function<ProbePage()>>;  // by path

  // `loop` outlives it. An error names the address.
  static absl::StatusOr<std::unique_ptr<ProbeServer>> Start(
      EventLoop& loop, const SocketAddress& address, Pages pages);
  ~ProbeServer();

 private:
  struct Connection {
    UniqueFd fd;
    std::string received;
    EventLoop::TimerId timer = 0;
  };

  ProbeServer(EventLoop& loop, UniqueFd listener, Pages pages);
  void Accept();
  void Read(int fd);
  void Close(int fd);
  std::string Answer(std::string_view request) const;

  EventLoop& loop_;
  UniqueFd listener_;
  const Pages pages_;
  std::map<int, Connection> connections_;
};

}  // namespace edged::agent
