#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <cstddef>

#include "absl/status/status.h"

namespace edged::rpc {

// Parses what the other end has sent. InvalidArgument when it is none of its
// kind, or would take more memory than `most` bytes, before it takes them: gRPC
// by itself parses first. On any thread.
absl::Status Parse(const grpc::ByteBuffer& bytes, size_t most,
                   google::protobuf::Message& message);

grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

}  // namespace edged::rpc
