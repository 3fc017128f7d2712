#include "edged/service/sync_session.h"

#include <utility>

#include "common/rpc/message_bytes.h"
#include "common/status.h"
#include "edged/service/message_limits.h"

namespace edged::edge {
namespace {

using rpc::Parse;
using rpc::Serialize;

// For a reader to take the answers that are on their way, and why it ends.
constexpr auto kLastWords = std::chrono::seconds(2);

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(Message(status))};
}

SyncSession* SyncSession::Start(EventLoop& loop, EdgeApi& api,
                                grpc::CallbackServerContext* context,
                                CallLimit& limit) {
  std::shared_ptr<SyncSession> session(
      new SyncSession(loop, api, context, limit));
  session->self_ = session;
  session->StartRead(&session->request_);
  return session.get();
}

void SyncSession::OnReadDone(bool ok) {
  Request request = ok ? Decode() : Request(absl::OkStatus());
  if (std::holds_alternative<std::monostate>(request)) {
    StartRead(&request_);
    return;
  }
  loop_.Post([self = self_, request = std::move(request)]() mutable {
    self->Handle(std::move(request));
  });
}

SyncSession::Request SyncSession::Decode() {
  v1::SyncRequest request;
  const absl::Status parsed =
      Parse(request_, greeted_ ? kMostOfChange : kMostOfQuestion, request);
  request_.Clear();
  if (!parsed.ok()) return parsed;
  return Decode(request);
}

SyncSession::Request SyncSession::Decode(const v1::SyncRequest& request) {
  // Before anything is gathered: chunks of who never says who he is count.
  if (!greeted_ && !request.has_hello()) {
    return InvalidArgument("sync request: the first message is not Hello");
  }
  switch (request.message_case()) {
    case v1::SyncRequest::kHello: {
      greeted_ = true;
      auto hello = FromProto(request.hello());
      if (!hello.ok()) return hello.status();
      return *std::move(hello);
    }
    case v1::SyncRequest::kSnapshot: {
      const uint64_t version = request.snapshot().version();
      auto last = assembler_.Add(request.snapshot());
      if (!last.ok()) return Nack{version, last.status()};
      if (!*last) return std::monostate();
      return assembler_.Take();
    }
    case v1::SyncRequest::kDelta: {
      auto change = FromProto(request.delta());
      if (!change.ok()) {
        return Nack{request.delta().version(), change.status()};
      }
      return *std::move(change);
    }
    case v1::SyncRequest::kKeyStored: {
      const auto key = PublicKey::Parse(request.key_stored().public_key());
      if (!key.ok()) return Annotate(key.status(), "key_stored");
      return *key;
    }
    case v1::SyncRequest::MESSAGE_NOT_SET:
      break;
  }
  return InvalidArgument("sync request: holds no known message");
}

void SyncSession::OnWriteDone(bool ok) {
  loop_.Post([self = self_, ok] {
    self->writing_ = false;
    self->answer_.Clear();
    if (!ok) self->outbox_.clear();
    self->WriteNext();
  });
}

void SyncSession::OnCancel() {
  loop_.Post([self = self_] { self->FinishWith(absl::CancelledError()); });
}

void SyncSession::OnDone() {
  limit_.Give();
  {
    const MutexLock lock(mutex_);
    context_ = nullptr;
  }
  // The last reference goes on the loop thread, after every call posted before.
  loop_.Post([self = std::move(self_)] {
    if (self->open_) self->api_.Close(*self);
  });
}

void SyncSession::Handle(Request request) {
  reading_ = false;
  if (finished_) return;
  if (auto* status = std::get_if<absl::Status>(&request)) {
    FinishWith(*status);
    return;
  }
  if (auto* hello = std::get_if<Hello>(&request)) {
    HandleHello(*hello);
  } else if (auto* nack = std::get_if<Nack>(&request)) {
    Queue(
        ToProto(SyncResult{.version = nack->version, .status = nack->status}));
  } else if (auto* key = std::get_if<PublicKey>(&request)) {
    api_.KeyStored(*this, *key);
  } else {
    HandleChange(std::get<DecodedChange>(std::move(request)));
  }
  WriteNext();
}

void SyncSession::HandleHello(const Hello& hello) {
  if (open_) {
    FinishWith(InvalidArgument("sync request: a second Hello"));
    return;
  }
  auto welcome = api_.Open(hello, *this);
  if (!welcome.ok()) {
    FinishWith(welcome.status());
    return;
  }
  open_ = true;
  Queue(ToProto(*welcome));
}

void SyncSession::HandleChange(DecodedChange change) {
  v1::SyncResponse response =
      ToProto(api_.Change(*this, std::move(change.call)));
  for (v1::RefusedMapping& refused : change.malformed) {
    *response.mutable_result()->add_refused() = std::move(refused);
  }
  Queue(std::move(response));
}

void SyncSession::Send(const Report& report) { QueueNewest(ToProto(report)); }

void SyncSession::Send(const KeyNotice& notice) {
  QueueNewest(ToProto(notice));
}

void SyncSession::End(const absl::Status& status) {
  open_ = false;  // whoever ends it has let go of it
  FinishWith(status);
}

void SyncSession::Queue(v1::SyncResponse response) {
  if (!finished_) outbox_.push_back(std::move(response));
}

// One of its kind that still waits is out of date.
void SyncSession::QueueNewest(v1::SyncResponse response) {
  for (v1::SyncResponse& waiting : outbox_) {
    if (waiting.message_case() == response.message_case()) {
      waiting = std::move(response);
      return;
    }
  }
  Queue(std::move(response));
  WriteNext();
}

void SyncSession::WriteNext() {
  if (writing_) return;
  if (final_status_) {
    Finish(*std::exchange(final_status_, std::nullopt));
    return;
  }
  if (finished_) return;
  if (!outbox_.empty()) {
    writing_ = true;
    answer_ = Serialize(outbox_.front());
    outbox_.pop_front();
    StartWrite(&answer_);
  } else if (!reading_) {
    reading_ = true;
    StartRead(&request_);
  }
}

void SyncSession::FinishWith(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  if (std::exchange(open_, false)) api_.Close(*this);
  final_status_ = ToGrpc(status);
  outbox_.clear();
  if (writing_) CancelSoon();
  WriteNext();
}

// What is being written may wait for a reader who never comes.
void SyncSession::CancelSoon() {
  loop_.After(kLastWords, [weak = weak_from_this()] {
    const auto session = weak.lock();
    if (!session) return;
    const MutexLock lock(session->mutex_);
    if (session->context_) session->context_->TryCancel();
  });
}

}  // namespace edged::edge
