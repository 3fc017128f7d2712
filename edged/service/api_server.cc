#include "edged/service/api_server.h"

#include <absl/strings/numbers.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_posix.h>
#include <grpcpp/support/server_interceptor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "edged/service/call_meter.h"
#include "edged/service/call_pace.h"
#include "edged/service/edge_service.h"
#include "edged/service/listener.h"
#include "edged/service/reflection_service.h"

namespace edged::edge {
namespace {

// The largest message: a snapshot's chunk of 1,000 records is about 100 KB.
constexpr int kMessageLimit = 4 << 20;
// Whatever gRPC has read it takes apart, also when too many calls are in it.
constexpr int kReadSize = 16 << 10;
constexpr size_t kMemoryLimit = 32 << 20;
constexpr int kKeepaliveMilliseconds = 10'000;
// Of one connection. An agent has one.
constexpr int kMostStreams = 16;

// Hears of each call of every service before it is answered, on gRPC's threads.
class CallCounter final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // Gets a connection, as gRPC names it, that calls without end.
  using Greedy = std::function<void(const std::string& peer)>;

  explicit CallCounter(Greedy greedy) : greedy_(std::move(greedy)) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    const std::string peer = call->server_context()->peer();
    if (meter_.IsTooMany(peer, std::chrono::steady_clock::now())) greedy_(peer);
    return nullptr;
  }

 private:
  const Greedy greedy_;
  CallMeter meter_;
};

class GrpcApiServer final : public ApiServer {
 public:
  GrpcApiServer(EventLoop& loop, EdgeApi& api) : service_(loop, api) {}

  ~GrpcApiServer() override {
    if (listener_) listener_->Close();
    if (server_) {
      server_->Shutdown(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(200));
    }
  }

  absl::Status Listen(const std::string& address, EventLoop& loop) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.RegisterService(&reflection_);
    builder.RegisterCallbackGenericService(&unknown_);
    std::vector<
        std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
        counters;
    counters.push_back(std::make_unique<CallCounter>(
        [this](const std::string& peer) { HangUp(peer); }));
    builder.experimental().SetInterceptorCreators(std::move(counters));
    builder.SetContextAllocator(std::make_unique<CallPace>());
    builder.SetMaxReceiveMessageSize(kMessageLimit);
    // Of messages that are not complete; gRPC takes about twice as much.
    builder.SetResourceQuota(grpc::ResourceQuota("api").Resize(kMemoryLimit));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
    builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadSize);
    // Whoever does not answer is closed, also one that makes no call.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                               kKeepaliveMilliseconds);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                               kKeepaliveMilliseconds);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    // Pings are never too many: gRPC 1.51 would end the connection, but gathers
    // a kilobyte of error for each ping until it has. Whoever does not take the
    // answers is hung up on by the listener.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    server_ = builder.BuildAndStart();
    if (!server_) return Internal("gRPC does not start");
    ASSIGN_OR_RETURN(
        listener_, Listener::Open(address, loop, [this](UniqueFd connection) {
          grpc::AddInsecureChannelFromFd(server_.get(), connection.release());
        }));
    return absl::OkStatus();
  }

 private:
  // gRPC calls a connection that it got by its descriptor "fd:12".
  void HangUp(const std::string& peer) {
    int fd = -1;
    if (absl::SimpleAtoi(peer.substr(peer.find(':') + 1), &fd)) {
      listener_->HangUp(fd);
    }
  }

  EdgeService service_;
  ReflectionService reflection_;
  // Calls of methods that are not there: gRPC's own way takes them in without a
  // limit.
  grpc::CallbackGenericService unknown_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<Listener> listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(
    const std::string& address, EventLoop& loop, EdgeApi& api) {
  grpc::EnableDefaultHealthCheckService(true);
  auto server = std::make_unique<GrpcApiServer>(loop, api);
  RETURN_IF_ERROR(server->Listen(address, loop));
  return server;
}

}  // namespace edged::edge
