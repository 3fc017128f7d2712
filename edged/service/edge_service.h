#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "common/event_loop.h"
#include "edged/core/edge_api.h"
#include "edged/service/call_limit.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::edge {

// The gRPC face of EdgeApi: every call is handed to the loop thread and
// answered from there. Of each kind only some may be under way at once, and the
// rest is ResourceExhausted: whoever calls without end keeps neither the loop
// from others nor the memory.
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
  grpc::ServerUnaryReactor* RotateKey(grpc::CallbackServerContext* context,
                                      const v1::RotateKeyRequest* request,
                                      v1::RotateKeyResponse* response) override;

  grpc::ServerWriteReactor<v1::WatchEventsResponse>* WatchEvents(
      grpc::CallbackServerContext* context,
      const v1::WatchEventsRequest* request) override;

 private:
  class Unary;

  EventLoop& loop_;
  EdgeApi& api_;
  CallLimit calls_{32};
  CallLimit listings_{8};  // each reads all mappings from the kernel
  CallLimit streams_{256};
};

}  // namespace edged::edge
