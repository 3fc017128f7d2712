#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/kernel_error.h"
#include "common/netlink/message.h"

struct mnl_socket;

// One netlink socket: transactions, dumps, events. Not thread-safe; it belongs
// to the loop thread. Every wait has a deadline.

namespace edged::netlink {

using MessageConsumer = std::function<absl::Status(const MessageView&)>;

// A consumer must not use the socket that calls it.
class Socket {
 public:
  // `protocol` as in netlink(7), for example NETLINK_ROUTE. Extended acks and
  // strict checking are switched on where the kernel has them, and refusals
  // are capped: they do not repeat the request.
  static absl::StatusOr<Socket> Open(int protocol);

  Socket(Socket&&) = default;
  Socket& operator=(Socket&&) = default;

  // Sends `message` with NLM_F_ACK and waits for the acknowledgement. `what`
  // begins the error message ("add address 10.0.0.1/32 to edged0").
  // Unavailable when no answer came within 5 s or messages were lost (ENOBUFS):
  // what became of the request is not known then. This holds for the next
  // three as well; answers that belong to an earlier request are skipped.
  absl::Status Transact(MessageBuilder& message, std::string_view what);

  // Sends a request with NLM_F_ACK that is answered by messages and then the
  // ack: each answer goes to `consume`. Its first error is returned.
  absl::Status Request(MessageBuilder& message, std::string_view what,
                       const MessageConsumer& consume);

  // The same where each answer is a small message in a datagram of its own, and
  // there are many: they are read in bursts. Internal when one has more than
  // kSmallAnswer bytes.
  static constexpr size_t kSmallAnswer = 1024;
  absl::Status RequestMany(MessageBuilder& message, std::string_view what,
                           const MessageConsumer& consume);

  // Sends a dump request. `restart` is called before every try, so that the
  // caller can forget what an interrupted try (NLM_F_DUMP_INTR, ENOBUFS) gave
  // it. After three interrupted tries: Aborted.
  absl::Status Dump(MessageBuilder& message, std::string_view what,
                    const std::function<void()>& restart,
                    const MessageConsumer& consume);

  // Sends raw bytes that hold whole messages (an nf_tables batch) in one
  // datagram; raises the send buffer above their size first. The caller reads
  // the acknowledgements with Receive().
  absl::Status Send(std::span<const uint8_t> bytes);

  // Reads one datagram of the kernel and hands its messages to `consume`, up to
  // its first error. Unavailable when nothing came within `deadline`; when
  // messages were lost, Unavailable with KernelError ENOBUFS inside, and what
  // was still waiting is discarded.
  absl::Status Receive(std::chrono::milliseconds deadline,
                       const MessageConsumer& consume);

  // Joins a multicast group (RTNLGRP_LINK, NFNLGRP_NFTABLES, ...). Events then
  // arrive at fd(), to be read with Receive(0ms). A request on the same socket
  // skips the events that come in meanwhile.
  absl::Status Join(uint32_t group);
  absl::Status Leave(uint32_t group);

  int fd() const;
  uint32_t port() const;  // our own address: who we are in events
  uint32_t NextSequence() { return ++sequence_; }

 private:
  using Handle = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;
  enum class Outcome { kComplete, kInterrupted };
  // How the answers to a request come.
  enum class Answers { kFew, kMany, kDump };

  explicit Socket(Handle handle);
  absl::StatusOr<Outcome> Exchange(MessageBuilder& message, Answers answers,
                                   std::string_view what,
                                   const MessageConsumer& consume);
  absl::Status AwaitAnswers(uint32_t sequence, Answers answers,
                            Outcome& outcome, const MessageConsumer& consume);
  absl::Status ReceiveBurst(std::chrono::milliseconds deadline,
                            const MessageConsumer& consume);
  void Drain();
  void RaiseSendBuffer(size_t size);

  Handle handle_;
  uint32_t sequence_ = 0;
  size_t send_buffer_ = 0;
  std::vector<uint8_t> receive_buffer_;
};

}  // namespace edged::netlink
