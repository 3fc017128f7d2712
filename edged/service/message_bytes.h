#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <cstddef>

#include "absl/status/status.h"

namespace edged::edge {

// A question, or the Hello of a stream: nobody needs more for one.
inline constexpr size_t kMostOfQuestion = 16 << 10;
// What a message may take when it is parsed. A change of 10,000 mappings takes
// 4 MB, the largest that gRPC passes on 37 MB when all of it is removals.
inline constexpr size_t kMostOfChange = 48 << 20;

// Parses what a client has sent. InvalidArgument when it is none of its kind,
// or would take more memory than `most` bytes, before it takes them. On any
// thread.
absl::Status Parse(const grpc::ByteBuffer& bytes, size_t most,
                   google::protobuf::Message& message);

grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

}  // namespace edged::edge
