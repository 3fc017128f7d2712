#include "edged/service/edge_service.h"

#include <algorithm>

#include "common/status.h"
#include "common/version.h"
#include "edged/service/edge_proto.h"
#include "edged/service/sync_session.h"

namespace edged::edge {
namespace {

constexpr size_t kDefaultPage = 1'000;
constexpr size_t kLargestPage = 10'000;

// The page after `request.page_token`, which is the last listener of the page
// before.
void FillPage(const std::vector<MappingStatus>& mappings,
              const v1::ListMappingsRequest& request,
              v1::ListMappingsResponse& response) {
  const size_t wanted =
      request.page_size() == 0
          ? kDefaultPage
          : std::min<size_t>(request.page_size(), kLargestPage);
  bool started = request.page_token().empty();
  size_t count = 0;
  std::string last;
  for (const MappingStatus& mapping : mappings) {
    const std::string name = mapping.mapping.listener.ToString();
    if (!started) {
      started = name == request.page_token();
      continue;
    }
    if (!request.public_address().empty() &&
        mapping.mapping.listener.public_address.ToString() !=
            request.public_address()) {
      continue;
    }
    if (count++ == wanted) {
      response.set_next_page_token(last);
      return;
    }
    *response.add_mappings() = ToProto(mapping);
    last = name;
  }
}

}  // namespace

grpc::ServerUnaryReactor* EdgeService::Register(
    grpc::CallbackServerContext* context, const v1::RegisterRequest* request,
    v1::RegisterResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto call = FromProto(*request);
  if (!call.ok()) {
    reactor->Finish(ToGrpc(call.status()));
    return reactor;
  }
  loop_.Post([this, reactor, response, call = *std::move(call)] {
    response->set_version(kVersion);
    reactor->Finish(ToGrpc(api_.Register(call)));
  });
  return reactor;
}

grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* EdgeService::Sync(
    grpc::CallbackServerContext*) {
  return SyncSession::Start(loop_, api_);
}

grpc::ServerUnaryReactor* EdgeService::GetState(
    grpc::CallbackServerContext* context, const v1::GetStateRequest*,
    v1::GetStateResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  loop_.Post([this, reactor, response] {
    *response = ToProto(api_.Status());
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerUnaryReactor* EdgeService::ListMappings(
    grpc::CallbackServerContext* context,
    const v1::ListMappingsRequest* request,
    v1::ListMappingsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  loop_.Post([this, reactor, request, response] {
    const auto mappings = api_.Mappings();
    if (mappings.ok()) FillPage(*mappings, *request, *response);
    reactor->Finish(ToGrpc(mappings.status()));
  });
  return reactor;
}

}  // namespace edged::edge
