#include "edged/service/api_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/stat.h>

#include <chrono>
#include <string_view>

#include "common/status.h"
#include "edged/service/edge_service.h"
#include "grpc/health/v1/health.pb.h"

namespace edged::edge {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
// The largest message: a snapshot's chunk of 1,000 records is about 100 KB.
constexpr int kMessageLimit = 4 << 20;
constexpr int kKeepaliveMilliseconds = 10'000;

class GrpcApiServer final : public ApiServer {
 public:
  GrpcApiServer(EventLoop& loop, EdgeApi& api) : service_(loop, api) {}

  ~GrpcApiServer() override {
    if (server_) {
      server_->Shutdown(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(200));
    }
  }

  absl::Status Listen(const std::string& address) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(kMessageLimit);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                               kKeepaliveMilliseconds);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                               kKeepaliveMilliseconds);
    // Agents ping us just as often, also without a call.
    builder.AddChannelArgument(
        GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
        kKeepaliveMilliseconds / 4);
    server_ = builder.BuildAndStart();
    if (!server_ || port == 0) {
      server_.reset();
      return FailedPrecondition("cannot listen on {}", address);
    }
    return absl::OkStatus();
  }

 private:
  EdgeService service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(
    const std::string& address, EventLoop& loop, EdgeApi& api) {
  static const bool plugins = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Named here, so that its descriptor is linked and reflection knows it.
    return grpc::health::v1::HealthCheckRequest::descriptor() != nullptr;
  }();
  static_cast<void>(plugins);
  auto server = std::make_unique<GrpcApiServer>(loop, api);
  const bool is_unix = address.starts_with(kUnixPrefix);
  // gRPC makes the socket file itself: nobody else may reach it even for the
  // moment before it gets its mode.
  const mode_t before = is_unix ? umask(0177) : 0;
  const absl::Status status = server->Listen(address);
  if (is_unix) umask(before);
  RETURN_IF_ERROR(status);
  return server;
}

}  // namespace edged::edge
