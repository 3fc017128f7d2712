#include "edged/service/api_server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_posix.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "common/rpc/library_logs.h"
#include "common/status.h"
#include "edged/service/edge_service.h"
#include "edged/service/listener.h"
#include "edged/service/reflection_service.h"

namespace edged::edge {
namespace {

// The largest message: a snapshot's chunk of 1,000 records is about 100 KB.
constexpr int kMessageLimit = 4 << 20;
constexpr size_t kMemoryLimit = 32 << 20;
constexpr int kKeepaliveMilliseconds = 10'000;
// Of one connection. An agent has one.
constexpr int kMostStreams = 16;

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
    builder.SetMaxReceiveMessageSize(kMessageLimit);
    // 4 MiB of zeros unpack to 4 GiB, and gRPC 1.51 knows no limit of that.
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    // Of messages that are not complete; gRPC takes about twice as much.
    builder.SetResourceQuota(grpc::ResourceQuota("api").Resize(kMemoryLimit));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
    // Whoever does not answer is closed, also one that makes no call.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                               kKeepaliveMilliseconds);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                               kKeepaliveMilliseconds);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    // How many pings are too many is the relay's business.
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
  EdgeService service_;
  ReflectionService reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<Listener> listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(
    const std::string& address, EventLoop& loop, EdgeApi& api) {
  rpc::TakeLibraryLogs();
  grpc::EnableDefaultHealthCheckService(true);
  auto server = std::make_unique<GrpcApiServer>(loop, api);
  RETURN_IF_ERROR(server->Listen(address, loop));
  return server;
}

}  // namespace edged::edge
