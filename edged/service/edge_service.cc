#include "edged/service/edge_service.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/record_proto/record_proto.h"
#include "common/rpc/message_bytes.h"
#include "common/status.h"
#include "common/version.h"
#include "edged/service/edge_proto.h"
#include "edged/service/message_limits.h"
#include "edged/service/sync_session.h"
#include "edged/service/watch_session.h"

namespace edged::edge {
namespace {

using rpc::Serialize;

constexpr size_t kDefaultPage = 1'000;
constexpr size_t kLargestPage = 10'000;  // 1 MB

template <typename Message>
absl::StatusOr<Message> Question(const grpc::ByteBuffer& bytes) {
  Message message;
  RETURN_IF_ERROR(rpc::Parse(bytes, kMostOfQuestion, message));
  return message;
}

// The listener that a page ended with, as it is written ("203.0.113.1 tcp/80").
absl::StatusOr<protocol::Listener> ParsePageToken(const std::string& token) {
  const std::vector<std::string> parts =
      absl::StrSplit(token, absl::ByAnyChar(" /-"));
  uint32_t first = 0;
  uint32_t last = 0;
  if ((parts.size() == 3 || parts.size() == 4) &&
      absl::SimpleAtoi(parts[2], &first) &&
      (parts.size() == 3 || absl::SimpleAtoi(parts[3], &last))) {
    v1::Listener proto;
    proto.set_public_address(parts[0]);
    proto.set_protocol(parts[1] == "udp" ? v1::PROTOCOL_UDP : v1::PROTOCOL_TCP);
    proto.set_first_port(first);
    proto.set_last_port(last);
    auto listener = record_proto::FromProto(proto);
    if (listener.ok() && listener->ToString() == token) return listener;
  }
  return InvalidArgument("page_token: \"{}\" is none that this edge gave",
                         token);
}

// The page after `request.page_token`. The listener that it names may have gone
// since.
absl::Status FillPage(const std::vector<MappingStatus>& mappings,
                      const v1::ListMappingsRequest& request,
                      v1::ListMappingsResponse& response) {
  const size_t wanted =
      request.page_size() == 0
          ? kDefaultPage
          : std::min<size_t>(request.page_size(), kLargestPage);
  const auto listener_of = [](const MappingStatus& mapping) -> const auto& {
    return mapping.mapping.listener;
  };
  auto mapping = mappings.begin();
  if (!request.page_token().empty()) {
    ASSIGN_OR_RETURN(const protocol::Listener last,
                     ParsePageToken(request.page_token()));
    mapping = std::ranges::upper_bound(mappings, last, {}, listener_of);
  }
  std::optional<IpAddress> only;
  if (!request.public_address().empty()) {
    const auto address = IpAddress::Parse(request.public_address());
    if (!address.ok()) return Annotate(address.status(), "public_address");
    only = *address;
  }
  const protocol::Listener* last = nullptr;
  for (; mapping != mappings.end(); ++mapping) {
    const protocol::Listener& listener = listener_of(*mapping);
    if (only && listener.public_address != *only) continue;
    if (static_cast<size_t>(response.mappings_size()) == wanted) {
      response.set_next_page_token(last->ToString());
      break;
    }
    *response.add_mappings() = ToProto(*mapping);
    last = &listener;
  }
  return absl::OkStatus();
}

}  // namespace

// One call. It has its place until the loop has answered it, and its answer
// has one among those that wait until it is read.
class EdgeService::Unary final : public grpc::ServerUnaryReactor {
 public:
  // `answer` runs on the loop thread and fills `response`. Deletes itself.
  static grpc::ServerUnaryReactor* Start(EventLoop& loop, CallLimit& limit,
                                         ByteLimit& waiting,
                                         grpc::ByteBuffer& response,
                                         std::function<grpc::Status()> answer) {
    if (!limit.Take()) return new RefusedCall<grpc::ServerUnaryReactor>();
    auto* call = new Unary(waiting);
    loop.Post([call, &limit, &response, answer = std::move(answer)] {
      const grpc::Status status = answer();
      limit.Give();
      call->Answer(status, response);
    });
    return call;
  }

  void OnDone() override {
    waiting_.Give(size_);
    delete this;
  }

 private:
  explicit Unary(ByteLimit& waiting) : waiting_(waiting) {}

  void Answer(const grpc::Status& status, grpc::ByteBuffer& response) {
    const size_t size = response.Valid() ? response.Length() : 0;
    if (waiting_.Take(size)) {
      size_ = size;
      Finish(status);
    } else {
      response.Clear();
      Finish(TooManyCalls());
    }
  }

  ByteLimit& waiting_;
  size_t size_ = 0;
};

grpc::ServerUnaryReactor* EdgeService::Register(grpc::CallbackServerContext*,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  return Unary::Start(
      loop_, calls_, waiting_, *response, [this, request, response] {
        const auto message = Question<v1::RegisterRequest>(*request);
        if (!message.ok()) return ToGrpc(message.status());
        const auto call = FromProto(*message);
        if (!call.ok()) return ToGrpc(call.status());
        v1::RegisterResponse answer;
        answer.set_version(kVersion);
        *response = Serialize(answer);
        return ToGrpc(api_.Register(*call));
      });
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* EdgeService::Sync(
    grpc::CallbackServerContext* context) {
  using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
  if (!streams_.Take()) return new RefusedCall<Reactor>();
  return SyncSession::Start(loop_, api_, context, streams_);
}

grpc::ServerUnaryReactor* EdgeService::GetState(grpc::CallbackServerContext*,
                                                const grpc::ByteBuffer*,
                                                grpc::ByteBuffer* response) {
  return Unary::Start(loop_, calls_, waiting_, *response, [this, response] {
    *response = Serialize(ToProto(api_.Status()));
    return grpc::Status::OK;
  });
}

grpc::ServerUnaryReactor* EdgeService::ListMappings(
    grpc::CallbackServerContext*, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return Unary::Start(
      loop_, listings_, waiting_, *response, [this, request, response] {
        const auto message = Question<v1::ListMappingsRequest>(*request);
        if (!message.ok()) return ToGrpc(message.status());
        const auto mappings = api_.Mappings();
        if (!mappings.ok()) return ToGrpc(mappings.status());
        v1::ListMappingsResponse answer;
        const absl::Status filled = FillPage(*mappings, *message, answer);
        *response = Serialize(answer);
        return ToGrpc(filled);
      });
}

grpc::ServerUnaryReactor* EdgeService::RotateKey(grpc::CallbackServerContext*,
                                                 const grpc::ByteBuffer*,
                                                 grpc::ByteBuffer* response) {
  return Unary::Start(loop_, calls_, waiting_, *response, [this, response] {
    const auto rotation = api_.RotateKey();
    v1::RotateKeyResponse answer;
    if (rotation.ok()) {
      answer.set_public_key(rotation->key.ToString());
      answer.set_next_public_key(rotation->next.ToString());
      answer.set_agent_connected(rotation->agent_connected);
    }
    *response = Serialize(answer);
    return ToGrpc(rotation.status());
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* EdgeService::WatchEvents(
    grpc::CallbackServerContext*, const grpc::ByteBuffer* request) {
  using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;
  const auto message = Question<v1::WatchEventsRequest>(*request);
  if (!message.ok()) {
    return new RefusedCall<Reactor>(ToGrpc(message.status()));
  }
  if (!streams_.Take()) return new RefusedCall<Reactor>();
  return WatchSession::Start(loop_, api_, message->recent(), streams_);
}

}  // namespace edged::edge
