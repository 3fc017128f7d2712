#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

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
// which is then closed. Who sends nothing or slowly is hung up on after
// `patience`, and at once when others come and all places are taken: whoever
// asks on connecting, as a prober does, is answered whatever others do.
class ProbeServer {
 public:
  using Pages = std::map<std::string, std::function<ProbePage()>>;  // by path

  struct Limits {
    size_t connections = 16;
    size_t request = 8192;  // bytes
    std::chrono::milliseconds patience = std::chrono::seconds(3);
  };

  // `loop` outlives it. An error names the address.
  static absl::StatusOr<std::unique_ptr<ProbeServer>> Start(
      EventLoop& loop, const SocketAddress& address, Pages pages,
      const Limits& limits);
  static absl::StatusOr<std::unique_ptr<ProbeServer>> Start(
      EventLoop& loop, const SocketAddress& address, Pages pages) {
    return Start(loop, address, std::move(pages), Limits());
  }
  ~ProbeServer();

 private:
  struct Connection {
    UniqueFd fd;
    std::string received;
    EventLoop::TimerId timer = 0;
    uint64_t number = 0;  // in the order of coming
  };

  ProbeServer(EventLoop& loop, UniqueFd listener, Pages pages,
              const Limits& limits);
  absl::Status Listen();
  void Accept();
  void Read(int fd);
  void Close(int fd);
  std::string Answer(std::string_view request) const;

  EventLoop& loop_;
  UniqueFd listener_;
  const Pages pages_;
  const Limits limits_;
  std::map<int, Connection> connections_;
  uint64_t accepted_ = 0;
  EventLoop::TimerId listen_timer_ = 0;
};

}  // namespace edged::agent
