#pragma once

namespace edged::rpc {

// From now on what gRPC and Protobuf say in this process goes the way of
// LogOfLibrary(): by themselves they write to standard error, byte for byte,
// what headers and fields of a client hold.
void TakeLibraryLogs();

}  // namespace edged::rpc
