#include "edged/service/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>

#include "grpc/health/v1/health.pb.h"

namespace edged::edge {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
using Response = grpc::reflection::v1alpha::ServerReflectionResponse;

constexpr const char* kServices[] = {
    "edged.v1.EdgeService", "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection"};

// The answer repeats it, and may wait for a reader.
constexpr size_t kLongest = 4096;

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

class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(CallLimit& limit) : limit_(limit) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    if (request_.ByteSizeLong() > kLongest) {
      Finish({grpc::StatusCode::INVALID_ARGUMENT, "the question is too long"});
      return;
    }
    response_ = Reflect(request_);
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
  Request request_;
  Response response_;
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

grpc::ServerBidiReactor<Request, Response>*
ReflectionService::ServerReflectionInfo(grpc::CallbackServerContext*) {
  if (!streams_.Take()) {
    return new RefusedCall<grpc::ServerBidiReactor<Request, Response>>();
  }
  return new Stream(streams_);
}

}  // namespace edged::edge
