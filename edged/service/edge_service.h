#pragma once

#include <grpcpp/grpcpp.h>

#include "common/event_loop.h"
#include "edged/core/edge_api.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::edge {

// The gRPC face of EdgeApi: every call is handed to the loop thread and
// answered from there.
class EdgeService final : public v1::EdgeService::CallbackService {
 public:
  // Both are borrowed and outlive the server.
  EdgeService(EventLoop& loop, EdgeApi& api) : loop_(loop), api_(api) {}

  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext* context,
                                     const v1::RegisterRequest* request,
                                     v1::RegisterResponse* response) override;
  grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* Sync(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetState(grpc::CallbackServerContext* context,
                                     const v1::GetStateRequest* request,
                                     v1::GetStateResponse* response) override;
  grpc::ServerUnaryReactor* ListMappings(
      grpc::CallbackServerContext* context,
      const v1::ListMappingsRequest* request,
      v1::ListMappingsResponse* response) override;

 private:
  EventLoop& loop_;
  EdgeApi& api_;
};

}  // namespace edged::edge
