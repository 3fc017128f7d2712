#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>

namespace edged::rpc {

// About how much memory a message takes when it is parsed, in bytes; counts no
// further than a little above `most`. An empty record is two bytes on the wire
// and up to 200 in memory, so what somebody else has sent is measured first.
// Also what cannot be parsed has a size: up to where parsing stops. `type` must
// not contain itself.
size_t ParsedSize(const google::protobuf::Descriptor& type,
                  google::protobuf::io::ZeroCopyInputStream& bytes,
                  size_t most);

}  // namespace edged::rpc
