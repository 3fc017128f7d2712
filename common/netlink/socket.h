#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/unique_fd.h"

// One netlink socket: transactions, dumps, events. Not thread-safe; it belongs
// to the loop thread. Every wait has a deadline.

namespace edged::netlink {

// What the kernel said about a refused request. It travels inside the status.
struct KernelError {
  int error = 0;         // a positive errno
  std::string text;      // the extended ack's message, often empty
  uint32_t offset = 0;   // of the offending attribute within the request; 0: none
  uint32_t sequence = 0; // of the refused message, to tell messages of a batch apart
};

// The kernel's error inside a status returned by this folder, if there is one.
std::optional<KernelError> KernelErrorOf(const absl::Status& status);
// "WHAT: strerror (extended ack text)", with the KernelError attached.
absl::Status KernelErrorStatus(const KernelError& error, std::string_view what);

using MessageConsumer = std::function<absl::Status(const MessageView&)>;

class Socket {
 public:
  // `protocol` as in netlink(7), for example NETLINK_ROUTE. Extended acks and
  // strict checking are switched on where the kernel has them.
  static absl::StatusOr<Socket> Open(int protocol);

  Socket(Socket&&) = default;
  Socket& operator=(Socket&&) = default;

  // Sends `message` with NLM_F_ACK and waits for the acknowledgement. `what`
  // begins the error message ("add address 10.0.0.1/32 to edged0").
  absl::Status Transact(MessageBuilder& message, std::string_view what);

  // Sends a request that is answered by messages and then an ack (or by one
  // message): each answer goes to `consume`.
  absl::Status Request(MessageBuilder& message, std::string_view what,
                       const MessageConsumer& consume);

  // Sends a dump request. `restart` is called before every try, so that the
  // caller can forget what an interrupted try (NLM_F_DUMP_INTR) gave it. After
  // three interrupted tries: Aborted.
  absl::Status Dump(MessageBuilder& message, std::string_view what,
                    const std::function<void()>& restart,
                    const MessageConsumer& consume);

  // Sends raw bytes that hold whole messages (an nf_tables batch) in one
  // datagram; raises the send buffer above their size first. The caller reads
  // the acknowledgements with Receive().
  absl::Status Send(std::span<const uint8_t> bytes);

  // Reads one datagram and hands its messages to `consume`. Unavailable when
  // nothing came within `deadline`, or with ENOBUFS when messages were lost.
  absl::Status Receive(std::chrono::milliseconds deadline,
                       const MessageConsumer& consume);

  // Joins a multicast group (RTNLGRP_LINK, NFNLGRP_NFTABLES, ...). Events then
  // arrive at fd(), to be read with Receive(0ms).
  absl::Status Join(uint32_t group);
  absl::Status Leave(uint32_t group);

  int fd() const { return fd_.get(); }
  uint32_t port() const { return port_; }  // our own address: who we are in events
  uint32_t NextSequence() { return ++sequence_; }

 private:
  Socket(UniqueFd fd, uint32_t port);

  UniqueFd fd_;
  uint32_t port_ = 0;
  uint32_t sequence_ = 0;
  int send_buffer_ = 0;
  std::vector<uint8_t> receive_buffer_;
};

}  // namespace edged::netlink
