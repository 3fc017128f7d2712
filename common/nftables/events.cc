#include "common/nftables/events.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <chrono>
#include <optional>

#include "common/netlink/kernel_error.h"
#include "common/nftables/element_codec.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;
using netlink::MessageView;

// One Read() ends after so many datagrams, however many changes others make.
constexpr int kDatagramsPerRead = 1024;
constexpr size_t kElementsTold = 64;

// What kind of event a message is, and the attributes that name its table and
// the chain or set.
struct Shape {
  EventKind kind;
  EventObject object;
  uint16_t table;
  uint16_t name;  // 0: none
};

std::optional<Shape> ShapeOf(uint8_t type) {
  constexpr EventKind kAdded = EventKind::kAdded;
  constexpr EventKind kDeleted = EventKind::kDeleted;
  switch (type) {
    case NFT_MSG_NEWTABLE:
      return Shape{kAdded, EventObject::kTable, NFTA_TABLE_NAME, 0};
    case NFT_MSG_DELTABLE:
      return Shape{kDeleted, EventObject::kTable, NFTA_TABLE_NAME, 0};
    case NFT_MSG_NEWCHAIN:
      return Shape{kAdded, EventObject::kChain, NFTA_CHAIN_TABLE,
                   NFTA_CHAIN_NAME};
    case NFT_MSG_DELCHAIN:
      return Shape{kDeleted, EventObject::kChain, NFTA_CHAIN_TABLE,
                   NFTA_CHAIN_NAME};
    case NFT_MSG_NEWRULE:
      return Shape{kAdded, EventObject::kRule, NFTA_RULE_TABLE,
                   NFTA_RULE_CHAIN};
    case NFT_MSG_DELRULE:
      return Shape{kDeleted, EventObject::kRule, NFTA_RULE_TABLE,
                   NFTA_RULE_CHAIN};
    case NFT_MSG_NEWSET:
      return Shape{kAdded, EventObject::kSet, NFTA_SET_TABLE, NFTA_SET_NAME};
    case NFT_MSG_DELSET:
      return Shape{kDeleted, EventObject::kSet, NFTA_SET_TABLE, NFTA_SET_NAME};
    case NFT_MSG_NEWSETELEM:
      return Shape{kAdded, EventObject::kElements, NFTA_SET_ELEM_LIST_TABLE,
                   NFTA_SET_ELEM_LIST_SET};
    case NFT_MSG_DELSETELEM:
      return Shape{kDeleted, EventObject::kElements, NFTA_SET_ELEM_LIST_TABLE,
                   NFTA_SET_ELEM_LIST_SET};
    case NFT_MSG_NEWOBJ:
      return Shape{kAdded, EventObject::kOther, NFTA_OBJ_TABLE, NFTA_OBJ_NAME};
    case NFT_MSG_DELOBJ:
      return Shape{kDeleted, EventObject::kOther, NFTA_OBJ_TABLE,
                   NFTA_OBJ_NAME};
    case NFT_MSG_NEWFLOWTABLE:
      return Shape{kAdded, EventObject::kOther, NFTA_FLOWTABLE_TABLE,
                   NFTA_FLOWTABLE_NAME};
    case NFT_MSG_DELFLOWTABLE:
      return Shape{kDeleted, EventObject::kOther, NFTA_FLOWTABLE_TABLE,
                   NFTA_FLOWTABLE_NAME};
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<Events> Events::Open() {
  ASSIGN_OR_RETURN(netlink::Socket socket,
                   netlink::Socket::Open(NETLINK_NETFILTER));
  Events events(std::move(socket));
  RETURN_IF_ERROR(events.Resume());
  return events;
}

absl::Status Events::Suspend() { return socket_.Leave(NFNLGRP_NFTABLES); }

absl::Status Events::Resume() { return socket_.Join(NFNLGRP_NFTABLES); }

absl::Status Events::Read(const std::function<void(const Event&)>& consume) {
  const auto take = [&](const MessageView& message) {
    return Take(message, consume);
  };
  for (int i = 0; i < kDatagramsPerRead; ++i) {
    const absl::Status status =
        socket_.Receive(std::chrono::milliseconds(0), take);
    if (status.ok()) continue;
    const auto error = netlink::KernelErrorOf(status);
    const bool lost = error && error->error == ENOBUFS;
    if (absl::IsUnavailable(status) && !lost) return absl::OkStatus();
    pending_.clear();
    return Annotate(status, "nf_tables events");
  }
  return absl::OkStatus();
}

// A flush of a set has one message for each of its elements.
void Events::Append(Event event) {
  if (!pending_.empty()) {
    Event& last = pending_.back();
    if (last.kind == event.kind && last.object == event.object &&
        last.table == event.table && last.name == event.name &&
        last.port == event.port) {
      last.count += event.count;
      for (Element& element : event.elements) {
        if (last.elements.size() == kElementsTold) break;
        last.elements.push_back(std::move(element));
      }
      return;
    }
  }
  pending_.push_back(std::move(event));
}

absl::Status Events::Take(const MessageView& message,
                          const std::function<void(const Event&)>& consume) {
  if (message.type >> 8 != NFNL_SUBSYS_NFTABLES) return absl::OkStatus();
  const uint8_t type = message.type & 0xff;
  if (type == NFT_MSG_NEWGEN) return Finish(message, consume);
  const auto shape = ShapeOf(type);
  if (!shape) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<nfgenmsg>());
  if (header.nfgen_family != NFPROTO_INET) return absl::OkStatus();
  Event event{shape->kind, shape->object};
  event.port = message.port;
  RETURN_IF_ERROR(
      netlink::ForEachAttribute(message.AttributesAfter(sizeof(nfgenmsg)),
                                [&](const Attribute& attribute) {
                                  if (attribute.type == shape->table)
                                    event.table = attribute.String();
                                  if (attribute.type == shape->name)
                                    event.name = attribute.String();
                                  return absl::OkStatus();
                                }));
  if (event.object == EventObject::kElements) {
    event.count = 0;
    RETURN_IF_ERROR(ForEachEntry(message, [&event](const Entry& entry) {
      ++event.count;
      const bool sayable = !entry.foreign && !entry.is_end;
      if (sayable) event.elements.push_back(entry.element);
      return absl::OkStatus();
    }));
  }
  Append(std::move(event));
  return absl::OkStatus();
}

// The end of a batch, which alone names the process.
absl::Status Events::Finish(const MessageView& message,
                            const std::function<void(const Event&)>& consume) {
  uint32_t pid = 0;
  std::string process;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const Attribute& attribute) -> absl::Status {
        if (attribute.type == NFTA_GEN_PROC_PID) {
          ASSIGN_OR_RETURN(pid, attribute.Be32());
        }
        if (attribute.type == NFTA_GEN_PROC_NAME) {
          process = attribute.String();
        }
        return absl::OkStatus();
      }));
  for (Event& event : std::exchange(pending_, {})) {
    if (event.port == message.port) {
      event.pid = pid;
      event.process = process;
    }
    consume(event);
  }
  return absl::OkStatus();
}

}  // namespace edged::nftables
