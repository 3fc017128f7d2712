#include "common/nftables/batch.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "common/netlink/message.h"
#include "common/nftables/chain_codec.h"
#include "common/nftables/element_codec.h"
#include "common/nftables/print.h"
#include "common/nftables/rule_compiler.h"
#include "common/nftables/set_codec.h"
#include "common/nftables/table_message.h"
#include "common/nftables/timeout_codec.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::MessageBuilder;

// An element list is an attribute, and its size has 16 bits: above them the
// kernel reads something else without a word.
constexpr size_t kListLimit = 65'500;
// A command in an error message; a rule with a map of 256 slots is long.
constexpr size_t kNameLimit = 400;

MessageBuilder Border(uint16_t type) {
  MessageBuilder message(type, 0);
  message.PutHeader(
      nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)});
  return message;
}

}  // namespace

// Writes one operation after the other into a batch.
class Batch::Writer {
 public:
  Writer(Batch& batch, const std::function<uint32_t()>& next_sequence)
      : batch_(batch),
        table_(batch.transaction_->table()),
        next_sequence_(next_sequence) {}

  absl::Status Write() {
    MessageBuilder begin = Border(NFNL_MSG_BATCH_BEGIN);
    ASSIGN_OR_RETURN(batch_.first_sequence_, Append(begin));
    for (const Operation& operation : batch_.transaction_->operations()) {
      RETURN_IF_ERROR(std::visit(*this, operation));
      ++operation_;
    }
    if (batch_.empty()) return absl::OkStatus();
    RequestAck();
    MessageBuilder end = Border(NFNL_MSG_BATCH_END);
    return Append(end).status();
  }

  absl::Status operator()(const AddTable& add) {
    MessageBuilder message = TableMessage(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    message.PutString(NFTA_TABLE_NAME, table_);
    message.PutBe32(NFTA_TABLE_FLAGS, add.owned ? NFT_TABLE_F_OWNER : 0);
    return Finish(message);
  }
  absl::Status operator()(const DeleteTable&) {
    MessageBuilder message = TableMessage(NFT_MSG_DELTABLE, 0);
    message.PutString(NFTA_TABLE_NAME, table_);
    return Finish(message);
  }
  absl::Status operator()(const AddSet& add) {
    ASSIGN_OR_RETURN(SetLayout layout, LayoutOf(add.set));
    layout.id = next_set_id_++;
    return WriteSet(layout);
  }
  absl::Status operator()(const DeleteSet& removal) {
    MessageBuilder message = TableMessage(NFT_MSG_DELSET, 0);
    message.PutString(NFTA_SET_TABLE, table_);
    message.PutString(NFTA_SET_NAME, removal.set);
    return Finish(message);
  }
  absl::Status operator()(const FlushSet& flush) {
    MessageBuilder message = Elements(NFT_MSG_DELSETELEM, 0, flush.set, 0);
    return Finish(message);
  }
  absl::Status operator()(const AddElements& add) {
    return WriteElements(NFT_MSG_NEWSETELEM, add.set.name, 0, add.elements,
                         SplitsRanges(add.set));
  }
  absl::Status operator()(const DeleteElements& removal) {
    return WriteElements(NFT_MSG_DELSETELEM, removal.set.name, 0,
                         removal.elements, SplitsRanges(removal.set));
  }
  absl::Status operator()(const AddChain& add) {
    MessageBuilder message = TableMessage(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    PutChain(add.chain, table_, message);
    return Finish(message);
  }
  absl::Status operator()(const FlushChain& flush) {
    MessageBuilder message = TableMessage(NFT_MSG_DELRULE, 0);
    message.PutString(NFTA_RULE_TABLE, table_);
    message.PutString(NFTA_RULE_CHAIN, flush.chain);
    return Finish(message);
  }
  absl::Status operator()(const DeleteChain& removal) {
    MessageBuilder message = TableMessage(NFT_MSG_DELCHAIN, 0);
    message.PutString(NFTA_CHAIN_TABLE, table_);
    message.PutString(NFTA_CHAIN_NAME, removal.chain);
    return Finish(message);
  }
  absl::Status operator()(const AddTimeout& add) {
    MessageBuilder message = TableMessage(NFT_MSG_NEWOBJ, NLM_F_CREATE);
    PutTimeout(add.timeout, table_, message);
    return Finish(message);
  }
  absl::Status operator()(const DeleteTimeout& removal) {
    MessageBuilder message = TableMessage(NFT_MSG_DELOBJ, 0);
    message.PutString(NFTA_OBJ_TABLE, table_);
    message.PutString(NFTA_OBJ_NAME, removal.timeout);
    message.PutBe32(NFTA_OBJ_TYPE, NFT_OBJECT_CT_TIMEOUT);
    return Finish(message);
  }
  absl::Status operator()(const AddRule& add) {
    auto rule = Compile(add.rule, next_set_id_);
    if (!rule.ok()) {
      return Annotate(rule.status(), fmt::format("add rule to {}", add.chain));
    }
    for (const AnonymousSet& set : rule->sets) {
      RETURN_IF_ERROR(WriteSet(set.layout));
      RETURN_IF_ERROR(WriteElements(NFT_MSG_NEWSETELEM, set.layout.name,
                                    set.layout.id, set.elements, false));
    }
    next_set_id_ += static_cast<uint32_t>(rule->sets.size());
    MessageBuilder message =
        TableMessage(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    message.PutString(NFTA_RULE_TABLE, table_);
    message.PutString(NFTA_RULE_CHAIN, add.chain);
    PutExpressions(rule->expressions, message);
    return Finish(message);
  }

 private:
  absl::Status WriteSet(const SetLayout& layout) {
    MessageBuilder message = TableMessage(NFT_MSG_NEWSET, NLM_F_CREATE);
    PutSet(layout, table_, message);
    return Finish(message);
  }

  MessageBuilder Elements(uint8_t type, uint16_t flags, const std::string& set,
                          uint32_t set_id) {
    MessageBuilder message = TableMessage(type, flags);
    message.PutString(NFTA_SET_ELEM_LIST_TABLE, table_);
    message.PutString(NFTA_SET_ELEM_LIST_SET, set);
    if (set_id != 0) message.PutBe32(NFTA_SET_ELEM_LIST_SET_ID, set_id);
    return message;
  }

  // As many messages as it takes.
  absl::Status WriteElements(uint8_t type, const std::string& set,
                             uint32_t set_id,
                             const std::vector<Element>& elements, bool split) {
    const bool adds = type == NFT_MSG_NEWSETELEM;
    for (size_t next = 0; next < elements.size();) {
      const size_t first = next;
      MessageBuilder message =
          Elements(type, adds ? NLM_F_CREATE : 0, set, set_id);
      const size_t list = message.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
      for (; next < elements.size(); ++next) {
        const size_t size = message.size();
        if (adds) {
          PutElement(elements[next], split, message);
        } else {
          PutKey(elements[next], split, message);
        }
        if (message.size() - list > kListLimit) {
          message.Truncate(size);
          break;
        }
      }
      message.EndNest(list);
      RETURN_IF_ERROR(Finish(message, first));
    }
    return absl::OkStatus();
  }

  absl::Status Finish(MessageBuilder& message, size_t first_element = 0) {
    const size_t offset = batch_.bytes_.size();
    ASSIGN_OR_RETURN(const uint32_t sequence, Append(message));
    batch_.messages_.push_back({sequence, offset, operation_, first_element});
    return absl::OkStatus();
  }

  absl::StatusOr<uint32_t> Append(MessageBuilder& message) {
    ASSIGN_OR_RETURN(const std::span<uint8_t> bytes, message.Finish());
    const uint32_t sequence = next_sequence_();
    std::memcpy(bytes.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence,
                sizeof sequence);
    batch_.bytes_.insert(batch_.bytes_.end(), bytes.begin(), bytes.end());
    return sequence;
  }

  // The end of a batch is not acknowledged by older kernels, so the last
  // operation is asked to be.
  void RequestAck() {
    uint8_t* header = &batch_.bytes_[batch_.messages_.back().offset];
    uint16_t flags;
    std::memcpy(&flags, header + offsetof(nlmsghdr, nlmsg_flags), sizeof flags);
    flags |= NLM_F_ACK;
    std::memcpy(header + offsetof(nlmsghdr, nlmsg_flags), &flags, sizeof flags);
  }

  Batch& batch_;
  const std::string& table_;
  const std::function<uint32_t()>& next_sequence_;
  size_t operation_ = 0;
  uint32_t next_set_id_ = 1;
};

absl::StatusOr<Batch> Batch::Seal(
    const Transaction& transaction,
    const std::function<uint32_t()>& next_sequence) {
  RETURN_IF_ERROR(transaction.status());
  Batch batch(transaction);
  RETURN_IF_ERROR(Annotate(Writer(batch, next_sequence).Write(),
                           fmt::format("table {}", transaction.table())));
  return batch;
}

bool Batch::Contains(uint32_t sequence) const {
  return sequence - first_sequence_ <= last_sequence() - first_sequence_;
}

size_t Batch::ElementAt(const Message& message, const Set& set,
                        const std::vector<Element>& elements,
                        uint32_t offset) const {
  uint32_t size;
  std::memcpy(&size, &bytes_[message.offset + offsetof(nlmsghdr, nlmsg_len)],
              sizeof size);
  auto position = EntryAt(bytes().subspan(message.offset, size), offset);
  if (!position) return elements.size();
  const bool split = SplitsRanges(set);
  size_t element = message.first_element;
  while (element < elements.size() &&
         *position >= EntriesOf(elements[element], split)) {
    *position -= EntriesOf(elements[element], split);
    ++element;
  }
  return element;
}

std::string Batch::Name(const netlink::KernelError& error) const {
  const auto message =
      std::ranges::find(messages_, error.sequence, &Message::sequence);
  if (message == messages_.end()) return "batch";
  Operation operation = transaction_->operations()[message->operation];
  const auto keep_one = [&](auto& change) {
    const size_t at =
        ElementAt(*message, change.set, change.elements, error.offset);
    if (at < change.elements.size()) change.elements = {change.elements[at]};
  };
  if (auto* add = std::get_if<AddElements>(&operation)) keep_one(*add);
  if (auto* removal = std::get_if<DeleteElements>(&operation)) {
    keep_one(*removal);
  }
  Transaction named(transaction_->table());
  named.Add(std::move(operation));
  std::string text = Print(named);
  while (text.ends_with('\n')) text.pop_back();
  if (text.size() > kNameLimit) text = text.substr(0, kNameLimit) + "...";
  return text;
}

}  // namespace edged::nftables
