#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/net_types.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::agent {

// The gRPC API of an edge on 127.0.0.1 as a script, on gRPC's threads. At the
// end streams that are open are cancelled.
class ScriptedServer final : public v1::EdgeService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::SyncResponse, v1::SyncRequest>;
  using SyncScript =
      std::function<grpc::Status(Stream& stream, grpc::ServerContext& context)>;

  explicit ScriptedServer(SyncScript script);
  ~ScriptedServer() override;

  SocketAddress address() const;
  // Ends all streams and the server.
  void Stop();
  // What Register answers.
  void AnswerRegister(grpc::Status status);
  std::vector<v1::RegisterRequest> registered();

  grpc::Status Register(grpc::ServerContext* context,
                        const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override;
  grpc::Status Sync(grpc::ServerContext* context, Stream* stream) override;
  // `recent` events, and nothing more until the caller ends it.
  grpc::Status WatchEvents(
      grpc::ServerContext* context, const v1::WatchEventsRequest* request,
      grpc::ServerWriter<v1::WatchEventsResponse>* writer) override;

 private:
  const SyncScript script_;
  int port_ = 0;
  Mutex mutex_;
  std::vector<v1::RegisterRequest> registered_ ABSL_GUARDED_BY(mutex_);
  grpc::Status register_answer_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

// Answers in the form of a script.
v1::SyncResponse WelcomeResponse(const std::string& version);
v1::SyncResponse ResultResponse(uint64_t version);
v1::SyncResponse ReportResponse(uint32_t mtu);

}  // namespace edged::agent
