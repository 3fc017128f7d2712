#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/net_types.h"
#include "common/unique_fd.h"

namespace edged::agent {

// ":8081" (all addresses, both families), "127.0.0.1:8081", "[::1]:8081".
absl::StatusOr<SocketAddress> ParseBindAddress(std::string_view text);

// Answers the kubelet's probes on the loop: GET /healthz is 200 while the loop
// turns, GET /readyz 200 or 503 with what is in the way. One request for a
// connection, which is then closed; nobody gets more than a few.
class ProbeServer {
 public:
  // Why not ready, a sentence each; empty: ready.
  using NotReady = std::function<std::vector<std::string>()>;

  // `loop` outlives it. Unavailable names the address.
  static absl::StatusOr<std::unique_ptr<ProbeServer>> Start(
      EventLoop& loop, const SocketAddress& address, NotReady not_ready);
  ~ProbeServer();

 private:
  struct Connection {
    UniqueFd fd;
    std::string received;
    EventLoop::TimerId timer = 0;
  };

  ProbeServer(EventLoop& loop, UniqueFd listener, NotReady not_ready);
  void Accept();
  void Read(int fd);
  void Close(int fd);
  std::string Answer(std::string_view request) const;

  EventLoop& loop_;
  UniqueFd listener_;
  const NotReady not_ready_;
  std::map<int, Connection> connections_;
};

}  // namespace edged::agent
