#include "common/rpc/message_bytes.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <cstdint>

#include "common/rpc/parsed_size.h"
#include "common/status.h"

namespace edged::rpc {

absl::Status Parse(const grpc::ByteBuffer& bytes, size_t most,
                   google::protobuf::Message& message) {
  grpc::ByteBuffer shared(bytes);  // a reader wants it writable
  const auto& type = *message.GetDescriptor();
  grpc::ProtoBufferReader measured(&shared);
  if (ParsedSize(type, measured, most) > most) {
    return InvalidArgument("{}: takes more than {} bytes", type.name(), most);
  }
  grpc::ProtoBufferReader parsed(&shared);
  if (message.ParseFromZeroCopyStream(&parsed)) return absl::OkStatus();
  return InvalidArgument("{}: cannot be parsed", type.name());
}

grpc::ByteBuffer Serialize(const google::protobuf::Message& message) {
  const grpc::Slice slice(message.ByteSizeLong());
  message.SerializeToArray(const_cast<uint8_t*>(slice.begin()),
                           static_cast<int>(slice.size()));
  return {&slice, 1};
}

}  // namespace edged::rpc
