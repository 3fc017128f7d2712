#include "edged/service/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>

#include "common/rpc/message_bytes.h"
#include "edged/service/message_limits.h"
#include "grpc/health/v1/health.pb.h"

namespace edged::edge {
namespace {

using rpc::Parse;
using rpc::Serialize;

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
using Response = grpc::reflection::v1alpha::ServerReflectionResponse;

constexpr const char* kServices[] = {
    "edged.v1.EdgeService", "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection"};

const DescriptorPool& Pool() {
  // Named here, so that the descriptor of what gRPC serves itself is linked.
  return *grpc::health::v1::HealthCheckRequest::descriptor()->file()->pool();
}

void Refuse(grpc::StatusCode code, const std::string& message,
            Response& response) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(message);
}

// The file after those that it imports, each once.
void Put(const FileDescriptor& file, std::set<std::string>& put,
         Response& response) {
  if (!put.insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) {
    Put(*file.dependency(i), put, response);
  }
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
}

void PutFile(const FileDescriptor* file, const std::string& asked,
             Response& response) {
  if (!file) {
    Refuse(grpc::StatusCode::NOT_FOUND, "there is no " + asked, response);
    return;
  }
  std::set<std::string> put;
  Put(*file, put, response);
}

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

class Stream final : public Reactor {
 public:
  explicit Stream(CallLimit& limit) : limit_(limit) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    Request request;
    // The answer repeats it, and may wait for a reader.
    const absl::Status parsed = Parse(request_, kMostOfQuestion, request);
    if (!parsed.ok()) {
      Finish(
          {grpc::StatusCode::INVALID_ARGUMENT, std::string(parsed.message())});
      return;
    }
    response_ = Serialize(Reflect(request));
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override {
    limit_.Give();
    delete this;
  }

 private:
  CallLimit& limit_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

}  // namespace

Response Reflect(const Request& request) {
  Response response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const char* name : kServices) {
        response.mutable_list_services_response()->add_service()->set_name(
            name);
      }
      break;
    case Request::kFileByFilename:
      PutFile(Pool().FindFileByName(request.file_by_filename()),
              request.file_by_filename(), response);
      break;
    case Request::kFileContainingSymbol:
      PutFile(Pool().FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), response);
      break;
    case Request::kFileContainingExtension:
    case Request::kAllExtensionNumbersOfType:
      Refuse(grpc::StatusCode::NOT_FOUND, "the API has no extensions",
             response);
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      Refuse(grpc::StatusCode::INVALID_ARGUMENT, "nothing was asked", response);
      break;
  }
  return response;
}

Reactor* ReflectionService::ServerReflectionInfo(grpc::CallbackServerContext*) {
  if (!streams_.Take()) return new RefusedCall<Reactor>();
  return new Stream(streams_);
}

}  // namespace edged::edge
