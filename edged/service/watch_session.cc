#include "edged/service/watch_session.h"

#include <utility>

#include "common/rpc/message_bytes.h"
#include "edged/service/edge_proto.h"
#include "edged/service/sync_session.h"

namespace edged::edge {

using rpc::Serialize;

WatchSession* WatchSession::Start(EventLoop& loop, EdgeApi& api,
                                  uint32_t recent, CallLimit& limit) {
  std::shared_ptr<WatchSession> session(new WatchSession(loop, api, limit));
  session->self_ = session;
  // Tells the caller that it is watching, before there is an event.
  session->StartSendInitialMetadata();
  loop.Post([session, recent] { session->Begin(recent); });
  return session.get();
}

void WatchSession::OnWriteDone(bool ok) {
  loop_.Post([self = self_, ok] {
    self->writing_ = false;
    if (ok) {
      self->WriteNext();
    } else {
      self->FinishWith(absl::CancelledError());
    }
  });
}

void WatchSession::OnCancel() {
  loop_.Post([self = self_] { self->FinishWith(absl::CancelledError()); });
}

void WatchSession::OnDone() {
  limit_.Give();
  // The last reference goes on the loop thread, after every call posted before.
  loop_.Post([self = std::move(self_)] {
    if (self->watching_) self->api_.Unwatch(*self);
  });
}

void WatchSession::Begin(uint32_t recent) {
  if (finished_) return;
  const absl::Status status = api_.Watch(*this, recent);
  watching_ = status.ok();
  if (!status.ok()) FinishWith(status);
}

void WatchSession::Send(const EdgeEvent& event) {
  queue_.Push(event);
  WriteNext();
}

void WatchSession::WriteNext() {
  if (writing_) return;
  if (final_status_) {
    Finish(*std::exchange(final_status_, std::nullopt));
    return;
  }
  if (finished_) return;
  const auto entry = queue_.Pop();
  if (!entry) return;
  response_ = Serialize(ToProto(*entry));
  writing_ = true;
  StartWrite(&response_);
}

void WatchSession::FinishWith(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  if (std::exchange(watching_, false)) api_.Unwatch(*this);
  final_status_ = ToGrpc(status);
  WriteNext();
}

}  // namespace edged::edge
