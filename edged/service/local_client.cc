#include "edged/service/local_client.h"

#include <google/protobuf/util/json_util.h>

#include <chrono>

#include "common/status.h"
#include "edged/service/local_call.h"
#include "edged/service/status_text.h"

namespace edged::edge {
absl::StatusOr<std::string> StateAsJson(const std::string& socket) {
  ASSIGN_OR_RETURN(const v1::GetStateResponse state,
                   LocalCall(socket).GetState());
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  const auto status =
      google::protobuf::util::MessageToJsonString(state, &json, options);
  if (!status.ok()) return Internal("state as json: {}", status.ToString());
  return json;
}

absl::StatusOr<std::string> StateAsTable(const std::string& socket) {
  ASSIGN_OR_RETURN(const v1::GetStateResponse state,
                   LocalCall(socket).GetState());
  return StatusText(state, std::chrono::system_clock::now());
}

}  // namespace edged::edge
