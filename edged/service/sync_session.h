#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/event_loop.h"
#include "common/mutex.h"
#include "edged/core/edge_api.h"
#include "edged/service/call_limit.h"
#include "edged/service/edge_proto.h"
#include "edged/v1/edge.pb.h"

namespace edged::edge {

// One Sync stream. gRPC's threads only decode and hand over; every member below
// the line belongs to the loop thread. A request is read only when the answers
// to the one before are written, so a slow reader holds up nobody but itself,
// and of waiting reports and key notices only the newest is kept; one that
// reads nothing is cancelled soon after its end. Owns itself until gRPC says
// that the call is over.
class SyncSession final
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
      public SyncStream,
      public std::enable_shared_from_this<SyncSession> {
 public:
  // `loop` and `api` outlive the gRPC server, and so every session. `context`
  // is the call's. Gives its place in `limit` back at its end.
  static SyncSession* Start(EventLoop& loop, EdgeApi& api,
                            grpc::CallbackServerContext* context,
                            CallLimit& limit);

  // On gRPC's threads.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // On the loop thread.
  void Send(const Report& report) override;
  void Send(const KeyNotice& notice) override;
  void End(const absl::Status& status) override;

 private:
  struct Nack {
    uint64_t version;
    absl::Status status;
  };
  // What a request turned out to be; nothing: a chunk that is not the last.
  using Request = std::variant<std::monostate, Hello, DecodedChange, Nack,
                               PublicKey, absl::Status>;

  SyncSession(EventLoop& loop, EdgeApi& api,
              grpc::CallbackServerContext* context, CallLimit& limit)
      : loop_(loop), api_(api), limit_(limit), context_(context) {}
  Request Decode();
  Request Decode(const v1::SyncRequest& request);
  void Handle(Request request);
  void HandleHello(const Hello& hello);
  void HandleChange(DecodedChange change);
  void Queue(v1::SyncResponse response);
  void QueueNewest(v1::SyncResponse response);
  void WriteNext();
  void CancelSoon();
  void FinishWith(const absl::Status& status);

  EventLoop& loop_;
  EdgeApi& api_;
  CallLimit& limit_;
  std::shared_ptr<SyncSession> self_;
  Mutex mutex_;
  // Null when gRPC is done with the call.
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer request_;     // between StartRead and Handle
  SnapshotAssembler assembler_;  // likewise
  bool greeted_ = false;         // likewise
  // ---- the loop thread's ----
  std::deque<v1::SyncResponse> outbox_;
  grpc::ByteBuffer answer_;  // while it is being written
  bool writing_ = false;
  bool reading_ = true;
  bool open_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> final_status_;  // waits for the last write
};

grpc::Status ToGrpc(const absl::Status& status);

}  // namespace edged::edge
