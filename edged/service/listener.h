#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/mutex.h"
#include "common/net_types.h"
#include "common/unique_fd.h"

namespace edged::edge {

// Accepts the connections of one address on the loop thread. gRPC 1.51 does not
// do it well enough: where the process has no descriptor left for a connection,
// its listener never accepts one again. This one leaves some for the rest of
// the daemon, and gives no single address many: a connection beyond that is
// closed at once, and who closes one makes room for the next. Over TCP, whoever
// sends more and more and takes no answers is hung up on, because gRPC keeps
// those in memory, and may come again after a while.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // Over TCP. An agent has one, and for a while those that it has lost.
  static constexpr size_t kMostOfOneAddress = 8;

  // Gets each connection, non-blocking, on the loop thread.
  using Take = std::function<void(UniqueFd)>;

  // `address`: "10.200.0.1:7443" or "unix:/run/edged/edged.sock" (root only; a
  // stale socket is replaced). FailedPrecondition when it cannot be had. `loop`
  // runs until after Close().
  static absl::StatusOr<std::shared_ptr<Listener>> Open(
      const std::string& address, EventLoop& loop, Take take);
  ~Listener();

  // From any thread: nothing is accepted after it, and the address is free.
  void Close();
  // From any thread: ends the connection over TCP that has this descriptor.
  void HangUp(int fd);

 private:
  Listener(const std::string& address, EventLoop& loop, Take take);

  absl::Status Bind();
  absl::Status BindUnix(const std::string& path);
  absl::Status BindTcp();
  bool IsClosed();
  void Watch();
  void AcceptSome();
  void Hand(UniqueFd connection, const std::optional<IpAddress>& from);
  size_t ConnectionsOf(const IpAddress& from);
  bool IsBanned(const IpAddress& from);
  void ForgetClosed();
  void HangUpOnGreedy();
  void Refuse(const std::string& why);
  void Rest();

  const std::string address_;
  EventLoop& loop_;
  const int most_descriptors_;
  UniqueFd socket_;
  std::string path_;  // of a Unix socket

  Mutex mutex_;
  Take take_ ABSL_GUARDED_BY(mutex_);  // empty: closed

  // Of a connection that was handed over: whoever has it does not tell when it
  // is closed, but then its number is free or another file's.
  struct Connection {
    int fd;
    ino_t inode;
    IpAddress from;
    // What it had sent when answers began to wait for it.
    std::optional<uint64_t> sent_before;
  };

  void HangUp(const IpAddress& from, std::string_view why);

  // ---- the loop thread's ----
  std::vector<Connection> connections_;  // over TCP
  std::map<IpAddress, std::chrono::steady_clock::time_point> banned_until_;
  bool watching_ = false;
  EventLoop::TimerId greedy_ = 0;  // runs while there are connections
  EventLoop::TimerId rest_ = 0;
  EventLoop::TimerId quiet_ = 0;  // runs after a refusal was logged
  size_t refused_ = 0;            // since then
};

}  // namespace edged::edge
