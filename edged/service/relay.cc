#include "edged/service/relay.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "common/status.h"

namespace edged::edge {
namespace {

constexpr size_t kReadSize = 16 << 10;
constexpr auto kAgain = std::chrono::milliseconds(50);

bool IsLater(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

Relay::Relay(EventLoop& loop, UniqueFd client, std::shared_ptr<ClientPace> pace,
             Complain complain)
    : loop_(loop), pace_(std::move(pace)), complain_(std::move(complain)) {
  client_.fd = std::move(client);
}

absl::StatusOr<UniqueFd> Relay::Start(EventLoop& loop, UniqueFd client,
                                      std::shared_ptr<ClientPace> pace,
                                      Complain complain) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                 ends.data()) != 0) {
    return ErrnoStatus(errno, "socketpair");
  }
  UniqueFd given(ends[0]);
  const std::shared_ptr<Relay> relay(
      new Relay(loop, std::move(client), std::move(pace), std::move(complain)));
  relay->grpc_.fd.reset(ends[1]);
  relay->Listen();
  return given;
}

// Whatever has come, but not more than one read of it: others want their turn.
void Relay::Read(Side& from, Side& to) {
  std::array<uint8_t, kReadSize> bytes;
  const ssize_t size = recv(from.fd.get(), bytes.data(), bytes.size(), 0);
  if (size > 0) {
    to.waiting.insert(to.waiting.end(), bytes.begin(), bytes.begin() + size);
  } else if (size == 0 || !IsLater(errno)) {
    if (&from == &client_) return End();
    is_over_ = true;
  }
  Carry();
}

// As much of the first `size` bytes as the side takes now.
absl::Status Relay::Write(Side& to, size_t& size) {
  while (size > 0) {
    const ssize_t sent =
        send(to.fd.get(), to.waiting.data(), size, MSG_NOSIGNAL);
    if (sent < 0 && IsLater(errno)) break;
    if (sent < 0) return ErrnoStatus(errno, "send");
    to.waiting.erase(to.waiting.begin(), to.waiting.begin() + sent);
    size -= static_cast<size_t>(sent);
  }
  if (to.waiting.empty()) to.waiting = {};  // an idle one takes no memory
  return absl::OkStatus();
}

absl::Status Relay::Admit() {
  ASSIGN_OR_RETURN(admitted_, gate_.Admit(grpc_.waiting, *pace_,
                                          std::chrono::steady_clock::now()));
  if (gate_.is_held() && !std::exchange(was_held_, true)) {
    complain_("asks for too much at once, and is slowed down");
  }
  return absl::OkStatus();
}

void Relay::Carry() {
  if (admitted_ == 0) {
    if (const absl::Status status = Admit(); !status.ok()) {
      complain_(Message(status));
      return End();
    }
  }
  if (!Write(grpc_, admitted_).ok()) {
    // It has closed its end; its last words are still to be read.
    admitted_ = 0;
    grpc_.waiting.clear();
  }
  size_t answers = client_.waiting.size();
  if (!Write(client_, answers).ok() || (is_over_ && answers == 0)) {
    return End();
  }
  Listen();
}

// To each side while the other takes what it says.
void Relay::Listen() {
  const bool is_answered = client_.waiting.empty();
  const bool hears = is_answered && grpc_.waiting.size() < FrameGate::kHeadSize;
  Watch(client_, (hears ? EPOLLIN : 0U) | (is_answered ? 0U : EPOLLOUT));
  Watch(grpc_, (is_answered && !is_over_ ? EPOLLIN : 0U) |
                   (admitted_ > 0 ? EPOLLOUT : 0U));
  if (admitted_ > 0 || !gate_.is_held() || again_ != 0) return;
  again_ = loop_.After(kAgain, [self = shared_from_this()] {
    self->again_ = 0;
    self->Carry();
  });
}

void Relay::Watch(Side& side, uint32_t events) {
  if (side.watched == events || !side.fd) return;
  if (side.watched != 0) loop_.Unwatch(side.fd.get());
  side.watched = events;
  if (events == 0) return;
  Side& other = &side == &client_ ? grpc_ : client_;
  const absl::Status status =
      loop_.Watch(side.fd.get(), events,
                  [self = shared_from_this(), &side, &other](uint32_t ready) {
                    const uint32_t said = ready & ~uint32_t{EPOLLOUT};
                    if (said != 0 && (side.watched & EPOLLIN) != 0) {
                      self->Read(side, other);
                    } else {
                      self->Carry();
                    }
                  });
  if (!status.ok()) {
    side.watched = 0;
    complain_(Message(status));
    End();
  }
}

void Relay::End() {
  const auto self = shared_from_this();  // the watches hold it
  for (Side* side : {&client_, &grpc_}) {
    if (std::exchange(side->watched, 0) != 0) loop_.Unwatch(side->fd.get());
    side->fd.reset();
  }
  loop_.Cancel(std::exchange(again_, 0));
}

}  // namespace edged::edge
