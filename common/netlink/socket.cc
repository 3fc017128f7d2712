#include "common/netlink/socket.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "common/status.h"

namespace edged::netlink {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kAnswerDeadline{5};
constexpr int kDumpTries = 3;
constexpr int kReceiveBuffer = 1 << 20;
// The kernel fills a dump's datagram up to the largest read it has seen.
constexpr size_t kDatagram = 32 * 1024;
// Small answers that one system call reads.
constexpr size_t kBurst = 32;
// What a message may cost beyond its bytes before the kernel says EMSGSIZE.
constexpr size_t kSendOverhead = 4096;

std::chrono::milliseconds Left(Clock::time_point deadline) {
  return std::max(
      std::chrono::milliseconds(0),
      std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()));
}

bool WasLost(const absl::Status& status) {
  const auto error = KernelErrorOf(status);
  return error.has_value() && error->error == ENOBUFS;
}

absl::Status ReceiveError(int error) {
  if (error == ENOBUFS) {
    return KernelErrorStatus({ENOBUFS, "messages were lost", 0, 0}, "netlink");
  }
  return ErrnoStatus(error, "netlink: receive");
}

absl::Status TooLate() { return Unavailable("netlink: nothing came in time"); }

// Waits until `fd` has something to read.
absl::Status AwaitInput(int fd, Clock::time_point deadline) {
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const int ready =
        ::poll(&entry, 1, static_cast<int>(Left(deadline).count()));
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return TooLate();
    if (errno != EINTR) return ErrnoStatus(errno, "netlink: poll");
  }
}

// Reads one datagram into `buffer`, which grows to hold it. Unset when it was
// not the kernel's or went away.
absl::StatusOr<std::span<const uint8_t>> ReadDatagram(
    int fd, std::vector<uint8_t>& buffer) {
  const ssize_t size =
      ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0 && errno != EAGAIN && errno != EINTR) return ReceiveError(errno);
  if (size > 0 && static_cast<size_t>(size) > buffer.size()) {
    buffer.resize(size);
  }
  sockaddr_nl from{};
  socklen_t from_size = sizeof from;
  const ssize_t got =
      ::recvfrom(fd, buffer.data(), buffer.size(), MSG_TRUNC | MSG_DONTWAIT,
                 reinterpret_cast<sockaddr*>(&from), &from_size);
  if (got < 0 && errno != EAGAIN && errno != EINTR) return ReceiveError(errno);
  // Other processes may send to our port; only port 0 is the kernel.
  if (got <= 0 || from.nl_pid != 0) return std::span<const uint8_t>();
  if (static_cast<size_t>(got) > buffer.size()) {
    return Internal("netlink: a datagram of {} bytes was cut to {}", got,
                    buffer.size());
  }
  return std::span<const uint8_t>(buffer).first(got);
}

// Reads what is there of up to kBurst datagrams into `buffer`, one slot of
// kSmallAnswer bytes for each; leaves out what is not the kernel's.
absl::StatusOr<std::vector<std::span<const uint8_t>>> ReadBurst(
    int fd, std::vector<uint8_t>& buffer) {
  constexpr size_t kSlot = Socket::kSmallAnswer;
  if (buffer.size() < kBurst * kSlot) buffer.resize(kBurst * kSlot);
  std::array<iovec, kBurst> slots;
  std::array<sockaddr_nl, kBurst> from{};
  std::array<mmsghdr, kBurst> datagrams{};
  for (size_t i = 0; i < kBurst; ++i) {
    slots[i] = {buffer.data() + i * kSlot, kSlot};
    datagrams[i].msg_hdr = {.msg_name = &from[i],
                            .msg_namelen = sizeof from[i],
                            .msg_iov = &slots[i],
                            .msg_iovlen = 1};
  }
  const int count =
      ::recvmmsg(fd, datagrams.data(), datagrams.size(), MSG_DONTWAIT, nullptr);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    return ReceiveError(errno);
  }
  std::vector<std::span<const uint8_t>> read;
  for (size_t i = 0; static_cast<int>(i) < count; ++i) {
    if ((datagrams[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
      return Internal("netlink: a datagram was cut to {} bytes", kSlot);
    }
    if (from[i].nl_pid != 0) continue;
    read.emplace_back(buffer.data() + i * kSlot, datagrams[i].msg_len);
  }
  return read;
}

}  // namespace

Socket::Socket(Handle handle)
    : handle_(std::move(handle)), receive_buffer_(kDatagram) {}

absl::StatusOr<Socket> Socket::Open(int protocol) {
  const std::string what = fmt::format("netlink: open protocol {}", protocol);
  Handle handle(mnl_socket_open2(protocol, SOCK_CLOEXEC), mnl_socket_close);
  if (handle == nullptr) return ErrnoStatus(errno, what);
  if (mnl_socket_bind(handle.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return ErrnoStatus(errno, what);
  }
  // Each is a comfort that an older kernel may lack: failures do not count.
  int on = 1;
  for (const int option :
       {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    mnl_socket_setsockopt(handle.get(), option, &on, sizeof on);
  }
  const int fd = mnl_socket_get_fd(handle.get());
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer,
                   sizeof kReceiveBuffer) < 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer,
                 sizeof kReceiveBuffer);
  }
  return Socket(std::move(handle));
}

int Socket::fd() const { return mnl_socket_get_fd(handle_.get()); }

uint32_t Socket::port() const { return mnl_socket_get_portid(handle_.get()); }

absl::Status Socket::Transact(MessageBuilder& message, std::string_view what) {
  return Request(message, what,
                 [](const MessageView&) { return absl::OkStatus(); });
}

absl::Status Socket::Request(MessageBuilder& message, std::string_view what,
                             const MessageConsumer& consume) {
  return Exchange(message, Answers::kFew, what, consume).status();
}

absl::Status Socket::RequestMany(MessageBuilder& message, std::string_view what,
                                 const MessageConsumer& consume) {
  return Exchange(message, Answers::kMany, what, consume).status();
}

absl::Status Socket::Dump(MessageBuilder& message, std::string_view what,
                          const std::function<void()>& restart,
                          const MessageConsumer& consume) {
  for (int i = 0; i < kDumpTries; ++i) {
    restart();
    const auto outcome = Exchange(message, Answers::kDump, what, consume);
    if (outcome.ok() && *outcome == Outcome::kComplete) return absl::OkStatus();
    if (!outcome.ok() && !WasLost(outcome.status())) return outcome.status();
  }
  return absl::AbortedError(fmt::format(
      "{}: interrupted by changes in each of {} tries", what, kDumpTries));
}

// One request and its answers. kInterrupted can only come from a dump.
absl::StatusOr<Socket::Outcome> Socket::Exchange(
    MessageBuilder& message, Answers answers, std::string_view what,
    const MessageConsumer& consume) {
  auto bytes = message.Finish();
  if (!bytes.ok()) return Annotate(bytes.status(), what);
  nlmsghdr header;
  std::memcpy(&header, bytes->data(), sizeof header);
  header.nlmsg_flags |= answers == Answers::kDump ? NLM_F_DUMP : NLM_F_ACK;
  header.nlmsg_seq = NextSequence();
  std::memcpy(bytes->data(), &header, sizeof header);
  if (const absl::Status sent = Send(*bytes); !sent.ok()) {
    return Annotate(sent, what);
  }
  Outcome outcome = Outcome::kComplete;
  absl::Status consumed;
  KernelError refusal;
  const absl::Status received = AwaitAnswers(
      header.nlmsg_seq, answers, outcome,
      [&](const MessageView& answer) -> absl::Status {
        if (answer.type == NLMSG_ERROR || answer.type == NLMSG_DONE) {
          ASSIGN_OR_RETURN(refusal, ReadAck(answer));
        } else if (consumed.ok()) {
          consumed = consume(answer);
        }
        return absl::OkStatus();
      });
  if (!received.ok()) {
    Drain();
    return Annotate(received, what);
  }
  if (refusal.error != 0) return KernelErrorStatus(refusal, what);
  if (!consumed.ok()) return Annotate(consumed, what);
  return outcome;
}

// Hands over every message that answers `sequence`, up to and including the
// one that ends them.
absl::Status Socket::AwaitAnswers(uint32_t sequence, Answers answers,
                                  Outcome& outcome,
                                  const MessageConsumer& consume) {
  const auto receive =
      answers == Answers::kMany ? &Socket::ReceiveBurst : &Socket::Receive;
  bool ended = false;
  auto deadline = Clock::now() + kAnswerDeadline;
  while (!ended) {
    if (Clock::now() >= deadline) return TooLate();
    RETURN_IF_ERROR((this->*receive)(
        Left(deadline), [&](const MessageView& message) -> absl::Status {
          // Others answer a request that timed out, or are events.
          if (message.sequence != sequence || message.port != port()) {
            return absl::OkStatus();
          }
          deadline = Clock::now() + kAnswerDeadline;
          if (message.type == NLMSG_NOOP) return absl::OkStatus();
          if ((message.flags & NLM_F_DUMP_INTR) != 0) {
            outcome = Outcome::kInterrupted;
          }
          ended = message.type == NLMSG_ERROR ||
                  (answers == Answers::kDump && message.type == NLMSG_DONE);
          return consume(message);
        }));
  }
  return absl::OkStatus();
}

// Reads away what is waiting. While a dump is unfinished the kernel answers the
// next one with EBUSY; and after messages were lost it drops further ones
// without a word until the queue was empty once.
void Socket::Drain() {
  const auto deadline = Clock::now() + kAnswerDeadline;
  while (AwaitInput(fd(), Clock::now()).ok() && Clock::now() < deadline) {
    (void)ReadDatagram(fd(), receive_buffer_);
  }
}

void Socket::RaiseSendBuffer(size_t size) {
  const int wanted = static_cast<int>(size);
  if (::setsockopt(fd(), SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) <
      0) {
    ::setsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  }
  int actual = 0;
  socklen_t actual_size = sizeof actual;
  if (::getsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &actual, &actual_size) == 0) {
    send_buffer_ = static_cast<size_t>(actual);
  }
}

absl::Status Socket::Send(std::span<const uint8_t> bytes) {
  const size_t wanted = bytes.size() + kSendOverhead;
  if (wanted > send_buffer_) RaiseSendBuffer(wanted);
  ssize_t sent;
  do {
    sent = mnl_socket_sendto(handle_.get(), bytes.data(), bytes.size());
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EMSGSIZE) {
    return absl::ResourceExhaustedError(fmt::format(
        "netlink: {} bytes do not fit into the send buffer of {}; it grows "
        "with CAP_NET_ADMIN or net.core.wmem_max",
        bytes.size(), send_buffer_));
  }
  if (sent < 0) return ErrnoStatus(errno, "netlink: send");
  return absl::OkStatus();
}

absl::Status Socket::Receive(std::chrono::milliseconds deadline,
                             const MessageConsumer& consume) {
  const auto end = Clock::now() + deadline;
  for (;;) {
    RETURN_IF_ERROR(AwaitInput(fd(), end));
    const auto datagram = ReadDatagram(fd(), receive_buffer_);
    if (WasLost(datagram.status())) Drain();
    if (!datagram.ok()) return datagram.status();
    if (!datagram->empty()) return ForEachMessage(*datagram, consume);
    if (Clock::now() >= end) return TooLate();
  }
}

absl::Status Socket::ReceiveBurst(std::chrono::milliseconds deadline,
                                  const MessageConsumer& consume) {
  RETURN_IF_ERROR(AwaitInput(fd(), Clock::now() + deadline));
  const auto datagrams = ReadBurst(fd(), receive_buffer_);
  if (WasLost(datagrams.status())) Drain();
  RETURN_IF_ERROR(datagrams.status());
  for (const auto& datagram : *datagrams) {
    RETURN_IF_ERROR(ForEachMessage(datagram, consume));
  }
  return absl::OkStatus();
}

absl::Status Socket::Join(uint32_t group) {
  if (mnl_socket_setsockopt(handle_.get(), NETLINK_ADD_MEMBERSHIP, &group,
                            sizeof group) < 0) {
    return ErrnoStatus(errno, fmt::format("netlink: join group {}", group));
  }
  return absl::OkStatus();
}

absl::Status Socket::Leave(uint32_t group) {
  if (mnl_socket_setsockopt(handle_.get(), NETLINK_DROP_MEMBERSHIP, &group,
                            sizeof group) < 0) {
    return ErrnoStatus(errno, fmt::format("netlink: leave group {}", group));
  }
  return absl::OkStatus();
}

}  // namespace edged::netlink
