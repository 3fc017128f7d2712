#pragma once

#include <grpcpp/grpcpp.h>

#include "edged/service/call_limit.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace edged::edge {

// The answer to one question about the API, from the descriptors that are
// linked; what is not there is a NOT_FOUND in it. Pure.
grpc::reflection::v1alpha::ServerReflectionResponse Reflect(
    const grpc::reflection::v1alpha::ServerReflectionRequest& request);

// Tells grpcurl what the API is. gRPC's own one has threads of its own and
// takes in calls without a limit.
class ReflectionService final
    : public grpc::reflection::v1alpha::ServerReflection::
          WithRawCallbackMethod_ServerReflectionInfo<
              grpc::reflection::v1alpha::ServerReflection::Service> {
 public:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
  ServerReflectionInfo(grpc::CallbackServerContext* context) override;

 private:
  CallLimit streams_{32};
};

}  // namespace edged::edge
