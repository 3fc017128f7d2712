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

// Every method as bytes: gRPC would parse a message before anybody has looked
// at its size.
using RawEdgeService = v1::EdgeService::WithRawCallbackMethod_Register<
    v1::EdgeService::WithRawCallbackMethod_Sync<
        v1::EdgeService::WithRawCallbackMethod_GetState<
            v1::EdgeService::WithRawCallbackMethod_ListMappings<
                v1::EdgeService::WithRawCallbackMethod_RotateKey<
                    v1::EdgeService::WithRawCallbackMethod_WatchEvents<
                        v1::EdgeService::Service>>>>>>;

// The gRPC face of EdgeApi: every call is handed to the loop thread and
// answered from there. Of each kind only some may be under way at once, and the
// rest is ResourceExhausted: whoever calls without end keeps neither the loop
// from others nor the memory.
class EdgeService final : public RawEdgeService {
 public:
  // Both are borrowed and outlive the server.
  EdgeService(EventLoop& loop, EdgeApi& api) : loop_(loop), api_(api) {}

  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Sync(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetState(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListMappings(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* RotateKey(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchEvents(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override;

 private:
  class Unary;

  EventLoop& loop_;
  EdgeApi& api_;
  CallLimit calls_{32};
  CallLimit listings_{8};  // each reads all mappings from the kernel
  CallLimit streams_{256};
  // An agent's own calls have answers of some bytes.
  ByteLimit waiting_{16 << 20};
};

}  // namespace edged::edge
