#include "common/rpc/library_logs.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <string>

#include "common/logging.h"

namespace edged::rpc {

void TakeLibraryLogs() {
  gpr_set_log_function(
      [](gpr_log_func_args* said) { LogOfLibrary("gRPC", said->message); });
  google::protobuf::SetLogHandler(
      [](google::protobuf::LogLevel, const char*, int,
         const std::string& said) { LogOfLibrary("Protobuf", said); });
}

}  // namespace edged::rpc
