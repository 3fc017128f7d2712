#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/kernel_error.h"
#include "common/nftables/transaction.h"

// A transaction as the bytes that the kernel takes in one datagram: begin,
// messages with numbers of their own, end. Pure.

namespace edged::nftables {

class Batch {
 public:
  // Numbers come from `next_sequence`. InvalidArgument names the operation that
  // cannot be said. `transaction` outlives the batch.
  static absl::StatusOr<Batch> Seal(
      const Transaction& transaction,
      const std::function<uint32_t()>& next_sequence);

  // No operation needed a message: there is nothing to send.
  bool empty() const { return messages_.empty(); }
  std::span<const uint8_t> bytes() const { return bytes_; }
  // Of the begin and of the last message: what the kernel says about the batch
  // as a whole carries the first number; only the last is always acknowledged.
  uint32_t first_sequence() const { return first_sequence_; }
  uint32_t last_sequence() const { return messages_.back().sequence; }
  bool Contains(uint32_t sequence) const;

  // What was refused, as the nft command for exactly that operation and element
  // ("add element inet edged ports4 { ... }"), or "batch".
  std::string Name(const netlink::KernelError& error) const;

 private:
  struct Message {
    uint32_t sequence;
    size_t offset;         // in bytes_
    size_t operation;      // in the transaction
    size_t first_element;  // AddElements and DeleteElements
  };
  class Writer;

  explicit Batch(const Transaction& transaction) : transaction_(&transaction) {}
  // Which of `elements` has its entry at `offset` of `message`; their number
  // when none has.
  size_t ElementAt(const Message& message, const Set& set,
                   const std::vector<Element>& elements, uint32_t offset) const;

  const Transaction* transaction_;
  std::vector<uint8_t> bytes_;
  std::vector<Message> messages_;
  uint32_t first_sequence_ = 0;
};

}  // namespace edged::nftables
