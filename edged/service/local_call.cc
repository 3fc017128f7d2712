#include "edged/service/local_call.h"

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "common/status.h"

namespace edged::edge {
namespace {

constexpr auto kDeadline = std::chrono::seconds(5);

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
}

}  // namespace

LocalCall::LocalCall(std::string socket)
    : socket_(std::move(socket)),
      stub_(v1::EdgeService::NewStub(grpc::CreateChannel(
          "unix:" + socket_, grpc::InsecureChannelCredentials()))) {}

absl::Status LocalCall::Refused(const std::string& message) const {
  return Unavailable(
      "no edged answers on {}: {}; is it running, and are you "
      "root?",
      socket_, message);
}

absl::StatusOr<v1::GetStateResponse> LocalCall::GetState() {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetStateResponse response;
  const grpc::Status status = stub_->GetState(&context, {}, &response);
  if (!status.ok()) return Refused(status.error_message());
  return response;
}

absl::StatusOr<v1::ListMappingsResponse> LocalCall::ListMappings(
    const v1::ListMappingsRequest& request) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ListMappingsResponse response;
  const grpc::Status status = stub_->ListMappings(&context, request, &response);
  if (!status.ok()) return Refused(status.error_message());
  return response;
}

absl::StatusOr<v1::RotateKeyResponse> LocalCall::RotateKey() {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::RotateKeyResponse response;
  const grpc::Status status = stub_->RotateKey(&context, {}, &response);
  if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION) {
    return FailedPrecondition("{}", status.error_message());
  }
  if (!status.ok()) return Refused(status.error_message());
  return response;
}

}  // namespace edged::edge
