#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/mutex.h"
#include "common/net_types.h"
#include "common/unique_fd.h"
#include "edged/core/complaints.h"
#include "edged/service/frame_gate.h"

namespace edged::edge {

// Accepts the connections of one address on the loop thread. gRPC 1.51 does not
// do it well enough: where the process has no descriptor left for a connection,
// its listener never accepts one again. This one leaves some for the rest of
// the daemon, and gives no single address many: a connection beyond that is
// closed at once, and who closes one makes room for the next. Over TCP a Relay
// stands between a client and gRPC, which asks for no more than its ClientPace.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // Over TCP. An agent has one, and for a while those that it has lost.
  static constexpr size_t kMostOfOneAddress = 8;

  // Gets each connection, or its relay's other end, non-blocking, on the loop
  // thread.
  using Take = std::function<void(UniqueFd)>;

  // `address`: "10.200.0.1:7443" or "unix:/run/edged/edged.sock" (root only; a
  // stale socket is replaced). FailedPrecondition when it cannot be had. `loop`
  // runs until after Close().
  static absl::StatusOr<std::shared_ptr<Listener>> Open(
      const std::string& address, EventLoop& loop, Take take);
  ~Listener();

  // From any thread: nothing is accepted after it, and the address is free.
  void Close();

 private:
  Listener(const std::string& address, EventLoop& loop, Take take);

  absl::Status Bind();
  absl::Status BindUnix(const std::string& path);
  absl::Status BindTcp();
  bool IsClosed();
  void Watch();
  void AcceptSome();
  absl::Status HandRelayed(UniqueFd connection, const IpAddress& from);
  absl::Status Give(UniqueFd connection);
  absl::Status CheckNumber(const UniqueFd& connection) const;
  absl::StatusOr<std::shared_ptr<ClientPace>> PaceOf(const IpAddress& from);
  void Say(const std::string& client, const std::string& what);
  void ArmExpiry();
  void Rest();

  const std::string address_;
  EventLoop& loop_;
  const int most_descriptors_;
  UniqueFd socket_;
  std::string path_;  // of a Unix socket

  Mutex mutex_;
  Take take_ ABSL_GUARDED_BY(mutex_);  // empty: closed

  // ---- the loop thread's ----
  // Each relay has a share of its client's pace. A client that went stays until
  // its pace has recovered, so that coming again gains it nothing.
  std::map<IpAddress, std::shared_ptr<ClientPace>> clients_;
  bool watching_ = false;
  EventLoop::TimerId rest_ = 0;
  Complaints complaints_;
  EventLoop::TimerId expiry_ = 0;  // of the first of them
};

}  // namespace edged::edge
