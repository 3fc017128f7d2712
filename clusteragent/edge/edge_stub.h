#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <utility>

#include "edged/v1/edge.grpc.pb.h"

namespace edged::agent {

// The methods of an edge. Its answers come as bytes, for rpc::Parse():
// the generated stub would parse them whatever memory they take.
class EdgeStub {
 public:
  explicit EdgeStub(const std::shared_ptr<grpc::Channel>& channel)
      : register_(channel), sync_(channel), watch_(channel) {}

  void Register(grpc::ClientContext& context,
                const v1::RegisterRequest& request, grpc::ByteBuffer& response,
                std::function<void(grpc::Status)> done) {
    register_.UnaryCall(&context, "/edged.v1.EdgeService/Register", {},
                        &request, &response, std::move(done));
  }
  void Sync(
      grpc::ClientContext& context,
      grpc::ClientBidiReactor<v1::SyncRequest, grpc::ByteBuffer>& reactor) {
    sync_.PrepareBidiStreamingCall(&context, "/edged.v1.EdgeService/Sync", {},
                                   &reactor);
  }
  // One request is to be written.
  void WatchEvents(grpc::ClientContext& context,
                   grpc::ClientBidiReactor<v1::WatchEventsRequest,
                                           grpc::ByteBuffer>& reactor) {
    watch_.PrepareBidiStreamingCall(
        &context, "/edged.v1.EdgeService/WatchEvents", {}, &reactor);
  }

 private:
  grpc::TemplatedGenericStub<v1::RegisterRequest, grpc::ByteBuffer> register_;
  grpc::TemplatedGenericStub<v1::SyncRequest, grpc::ByteBuffer> sync_;
  grpc::TemplatedGenericStub<v1::WatchEventsRequest, grpc::ByteBuffer> watch_;
};

}  // namespace edged::agent
