#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "common/event_loop.h"
#include "edged/core/edge_api.h"
#include "edged/core/event_queue.h"
#include "edged/service/call_limit.h"
#include "edged/v1/edge.pb.h"

namespace edged::edge {

// One WatchEvents stream. gRPC's threads only hand over; every member below the
// line belongs to the loop thread. A slow reader loses events and is told how
// many. Owns itself until gRPC says that the call is over.
class WatchSession final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public EventStream {
 public:
  static constexpr size_t kMostWaiting = 256;

  // `loop` and `api` outlive the gRPC server, and so every session.
  // Gives its place in `limit` back at its end.
  static WatchSession* Start(EventLoop& loop, EdgeApi& api, uint32_t recent,
                             CallLimit& limit);

  // On gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // On the loop thread.
  void Send(const EdgeEvent& event) override;

 private:
  WatchSession(EventLoop& loop, EdgeApi& api, CallLimit& limit)
      : loop_(loop), api_(api), limit_(limit) {}
  void Begin(uint32_t recent);
  void WriteNext();
  void FinishWith(const absl::Status& status);

  EventLoop& loop_;
  EdgeApi& api_;
  CallLimit& limit_;
  std::shared_ptr<WatchSession> self_;
  // ---- the loop thread's ----
  EventQueue queue_{kMostWaiting};
  grpc::ByteBuffer response_;  // being written
  bool watching_ = false;
  bool writing_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> final_status_;  // waits for the last write
};

}  // namespace edged::edge
