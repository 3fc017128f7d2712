#include "clusteragent/edge/edge_client.h"

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <deque>
#include <utility>
#include <vector>

#include "clusteragent/edge/edge_proto.h"
#include "clusteragent/edge/edge_stub.h"
#include "clusteragent/edge/grpc_door.h"
#include "clusteragent/edge/waiting_message.h"
#include "clusteragent/edge/watch_call.h"
#include "common/rpc/library_logs.h"
#include "common/rpc/message_bytes.h"
#include "common/status.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::agent {
namespace {

constexpr auto kCallDeadline = std::chrono::seconds(5);
constexpr int kKeepaliveMilliseconds = 5'000;
// A report may name each of 60,000 mappings.
constexpr int kReceiveLimit = 16 << 20;
// When it is parsed: 16 MiB of such names take 47 MB.
constexpr size_t kMostOfAnswer = 64 << 20;

// One Register, until gRPC and the loop have both let go.
struct RegisterCall {
  grpc::ClientContext context;
  v1::RegisterRequest request;
  grpc::ByteBuffer response;  // nobody reads it
  std::function<void(const absl::Status&)> done;
  std::shared_ptr<RegisterCall> self;  // until gRPC has answered
};

// The gRPC side of one stream. Lives until gRPC and the loop have both let go.
// `listener_`, `outbox_` and `mistake_` belong to the loop thread; gRPC's
// threads use only the buffer of the operation that they complete. A message is
// read when the one before is dealt with, so an edge that talks without end
// waits, and takes no memory.
class SyncCall final
    : public grpc::ClientBidiReactor<v1::SyncRequest, grpc::ByteBuffer>,
      public std::enable_shared_from_this<SyncCall> {
 public:
  SyncCall(std::shared_ptr<GrpcDoor> door, SyncListener& listener)
      : door_(std::move(door)), listener_(&listener) {}

  void Start(EdgeStub& stub, v1::SyncRequest hello) {
    self_ = shared_from_this();
    door_->Enter();
    stub.Sync(context_, *this);
    Send(std::move(hello));
    StartRead(&bytes_);
    // Writes and reads start from the loop thread, outside of gRPC's callbacks:
    // a hold for each.
    AddMultipleHolds(2);
    StartCall();
  }

  void Send(v1::SyncRequest request) {
    if (ended_) return;
    outbox_.push_back(std::move(request));
    if (outbox_.size() == 1) StartWrite(&outbox_.front());
  }

  void Cancel() {
    listener_ = nullptr;
    End();
    context_.TryCancel();
    if (message_.Cancel()) RemoveHold();
  }

  void OnWriteDone(bool ok) override {
    door_->Post([self = self_, ok] {
      self->outbox_.pop_front();
      if (!ok) self->End();
      if (!self->ended_ && !self->outbox_.empty()) {
        self->StartWrite(&self->outbox_.front());
      }
    });
  }

  void OnReadDone(bool ok) override {
    if (ok) parsed_ = rpc::Parse(bytes_, kMostOfAnswer, response_);
    bytes_.Clear();
    if (!ok || !message_.Arrive()) RemoveHold();
    door_->Post([self = self_, ok] {
      if (ok) {
        self->TakeMessage();
      } else {
        self->End();
      }
    });
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<GrpcDoor> door = door_;
    door->Leave([self = std::move(self_), status = FromGrpc(status)] {
      self->End();
      if (!self->listener_) return;
      self->listener_->OnEnd(self->mistake_.ok() ? status : self->mistake_);
    });
  }

 private:
  // No more writes: lets the call complete.
  void End() {
    if (!std::exchange(ended_, true)) RemoveHold();
  }

  void TakeMessage() {
    if (!message_.Take()) return;
    Deliver(response_);
    response_ = {};
    StartRead(&bytes_);
  }

  void Deliver(const v1::SyncResponse& response) {
    if (!mistake_.ok()) return;
    mistake_ = Annotate(parsed_.ok() ? DeliverValue(response) : parsed_,
                        "the edge's answer");
    if (!mistake_.ok()) context_.TryCancel();
  }

  absl::Status DeliverValue(const v1::SyncResponse& response) {
    if (!listener_) return absl::OkStatus();
    switch (response.message_case()) {
      case v1::SyncResponse::kWelcome: {
        ASSIGN_OR_RETURN(const auto welcome, FromProto(response.welcome()));
        listener_->OnWelcome(welcome);
        break;
      }
      case v1::SyncResponse::kResult: {
        ASSIGN_OR_RETURN(const auto result, FromProto(response.result()));
        listener_->OnResult(result);
        break;
      }
      case v1::SyncResponse::kReport: {
        ASSIGN_OR_RETURN(const auto report, FromProto(response.report()));
        listener_->OnReport(report);
        break;
      }
      case v1::SyncResponse::kKey: {
        ASSIGN_OR_RETURN(const auto notice, FromProto(response.key()));
        if (notice) listener_->OnKey(*notice);
        break;
      }
      case v1::SyncResponse::MESSAGE_NOT_SET:
        break;  // of a newer edge
    }
    return absl::OkStatus();
  }

  const std::shared_ptr<GrpcDoor> door_;
  SyncListener* listener_;
  std::shared_ptr<SyncCall> self_;  // until OnDone
  grpc::ClientContext context_;
  grpc::ByteBuffer bytes_;  // between StartRead and OnReadDone
  // Between OnReadDone and the next StartRead.
  v1::SyncResponse response_;
  absl::Status parsed_;
  std::deque<v1::SyncRequest> outbox_;  // the front is being written
  WaitingMessage message_;
  bool ended_ = false;
  absl::Status mistake_;  // in what the edge sent: why we end the call
};

class GrpcSyncStream final : public SyncStream {
 public:
  explicit GrpcSyncStream(std::shared_ptr<SyncCall> call)
      : call_(std::move(call)) {}
  ~GrpcSyncStream() override { call_->Cancel(); }

  void SendSnapshot(uint64_t version,
                    const protocol::EdgeState& state) override {
    for (v1::SyncRequest& request : SnapshotRequests(version, state)) {
      call_->Send(std::move(request));
    }
  }
  void SendDelta(uint64_t base_version, uint64_t version,
                 const protocol::EdgeDelta& delta) override {
    call_->Send(DeltaRequest(base_version, version, delta));
  }
  void SendKeyStored(const PublicKey& key) override {
    call_->Send(KeyStoredRequest(key));
  }

 private:
  std::shared_ptr<SyncCall> call_;
};

class GrpcEdgeClient final : public EdgeClient {
 public:
  GrpcEdgeClient(EventLoop& loop, const SocketAddress& address)
      : door_(std::make_shared<GrpcDoor>(loop)) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMilliseconds);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetMaxReceiveMessageSize(kReceiveLimit);
    // 16 MiB of zeros unpack to 16 GiB, and gRPC 1.51 knows no limit of that.
    arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    // Two edges never share a connection, even where two namespaces give them
    // the same address.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = std::make_unique<EdgeStub>(grpc::CreateCustomChannel(
        "ipv" + std::string(address.address.is_ipv4() ? "4:" : "6:") +
            address.ToString(),
        grpc::InsecureChannelCredentials(), arguments));
  }

  ~GrpcEdgeClient() override {
    for (const auto& waiting : registers_) {
      if (const auto call = waiting.lock()) call->context.TryCancel();
    }
    if (door_->Close()) return;
    spdlog::critical(
        "gRPC holds a call that was cancelled; leaking its channel");
    stub_.release();
  }

  void Register(const Epoch& epoch, const protocol::Uplink& uplink,
                const std::string& edge,
                std::function<void(const absl::Status&)> done) override {
    std::erase_if(registers_, [](const auto& call) { return call.expired(); });
    const auto call = std::make_shared<RegisterCall>();
    registers_.push_back(call);
    call->context.set_deadline(std::chrono::system_clock::now() +
                               kCallDeadline);
    call->request = RegisterRequest(epoch, uplink, edge);
    call->done = std::move(done);
    call->self = call;
    door_->Enter();
    stub_->Register(
        call->context, call->request, call->response,
        [door = door_, call = call.get()](const grpc::Status& status) {
          door->Leave([door, self = std::move(call->self), status] {
            if (door->is_open()) self->done(FromGrpc(status));
          });
        });
  }

  std::unique_ptr<SyncStream> OpenSync(const Epoch& epoch,
                                       const protocol::Digest& digest,
                                       SyncListener& listener) override {
    auto call = std::make_shared<SyncCall>(door_, listener);
    call->Start(*stub_, HelloRequest(epoch, digest));
    return std::make_unique<GrpcSyncStream>(std::move(call));
  }

  std::unique_ptr<EventStream> OpenEvents(uint32_t recent,
                                          EventListener& listener) override {
    return WatchEdge(*stub_, door_, recent, listener);
  }

 private:
  const std::shared_ptr<GrpcDoor> door_;
  std::unique_ptr<EdgeStub> stub_;
  std::vector<std::weak_ptr<RegisterCall>> registers_;
};

}  // namespace

std::unique_ptr<EdgeClient> DialEdge(EventLoop& loop,
                                     const SocketAddress& address) {
  rpc::TakeLibraryLogs();
  return std::make_unique<GrpcEdgeClient>(loop, address);
}

}  // namespace edged::agent
