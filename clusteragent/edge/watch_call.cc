#include "clusteragent/edge/watch_call.h"

#include <utility>

#include "clusteragent/edge/edge_proto.h"
#include "clusteragent/edge/waiting_message.h"
#include "common/rpc/message_bytes.h"

namespace edged::agent {
namespace {

// In bytes, when it is parsed: some texts about one change.
constexpr size_t kMostOfEvent = 1 << 20;

// The gRPC side of one stream. Lives until gRPC and the loop have both let go.
// `listener_` belongs to the loop thread.
class WatchCall final
    : public grpc::ClientBidiReactor<v1::WatchEventsRequest, grpc::ByteBuffer>,
      public std::enable_shared_from_this<WatchCall> {
 public:
  WatchCall(std::shared_ptr<GrpcDoor> door, EventListener& listener)
      : door_(std::move(door)), listener_(&listener) {}

  void Start(EdgeStub& stub, uint32_t recent) {
    self_ = shared_from_this();
    door_->Enter();
    request_.set_recent(recent);
    stub.WatchEvents(context_, *this);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&response_);
    // Reads start from the loop thread, outside of gRPC's callbacks.
    AddHold();
    StartCall();
  }

  void Cancel() {
    listener_ = nullptr;
    context_.TryCancel();
    if (message_.Cancel()) RemoveHold();
  }

  void OnReadDone(bool ok) override {
    if (!ok || !message_.Arrive()) {
      RemoveHold();
      return;
    }
    door_->Post([self = self_] { self->TakeMessage(); });
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<GrpcDoor> door = door_;
    door->Leave([self = std::move(self_), status = FromGrpc(status)] {
      if (self->listener_) self->listener_->OnEventsEnd(status);
    });
  }

 private:
  void TakeMessage() {
    if (!message_.Take()) return;
    v1::WatchEventsResponse response;
    const bool parsed = rpc::Parse(response_, kMostOfEvent, response).ok();
    const auto event = parsed ? FromProto(response) : std::nullopt;
    if (listener_ && event) listener_->OnEvent(*event);
    response_.Clear();
    StartRead(&response_);
  }

  const std::shared_ptr<GrpcDoor> door_;
  EventListener* listener_;
  std::shared_ptr<WatchCall> self_;  // until OnDone
  grpc::ClientContext context_;
  v1::WatchEventsRequest request_;
  grpc::ByteBuffer response_;
  WaitingMessage message_;
};

class GrpcEventStream final : public EventStream {
 public:
  explicit GrpcEventStream(std::shared_ptr<WatchCall> call)
      : call_(std::move(call)) {}
  ~GrpcEventStream() override { call_->Cancel(); }

 private:
  std::shared_ptr<WatchCall> call_;
};

}  // namespace

std::unique_ptr<EventStream> WatchEdge(EdgeStub& stub,
                                       std::shared_ptr<GrpcDoor> door,
                                       uint32_t recent,
                                       EventListener& listener) {
  auto call = std::make_shared<WatchCall>(std::move(door), listener);
  call->Start(stub, recent);
  return std::make_unique<GrpcEventStream>(std::move(call));
}

}  // namespace edged::agent
