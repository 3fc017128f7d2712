#include "edged/service/local_client.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>

#include "common/status.h"
#include "edged/service/status_text.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::edge {
namespace {

constexpr auto kDeadline = std::chrono::seconds(5);

absl::StatusOr<v1::GetStateResponse> GetState(const std::string& socket) {
  const auto channel =
      grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials());
  const auto stub = v1::EdgeService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  v1::GetStateResponse response;
  const grpc::Status status = stub->GetState(&context, {}, &response);
  if (!status.ok()) {
    return Unavailable(
        "no edged answers on {}: {}; is it running, and are you "
        "root?",
        socket, status.error_message());
  }
  return response;
}

}  // namespace

absl::StatusOr<std::string> StateAsJson(const std::string& socket) {
  ASSIGN_OR_RETURN(const v1::GetStateResponse state, GetState(socket));
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  const auto status =
      google::protobuf::util::MessageToJsonString(state, &json, options);
  if (!status.ok()) return Internal("state as json: {}", status.ToString());
  return json;
}

absl::StatusOr<std::string> StateAsTable(const std::string& socket) {
  ASSIGN_OR_RETURN(const v1::GetStateResponse state, GetState(socket));
  return StatusText(state, std::chrono::system_clock::now());
}

}  // namespace edged::edge
