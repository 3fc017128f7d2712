// Elements of sets as nf_tables lists them: entries, ranges made of two, and
// the place of one that the kernel refused.

#include <endian.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>

#include "common/nftables/element_codec.h"
#include "common/nftables/table_message.h"
#include "common/status.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

using netlink::MessageBuilder;
using netlink::MessageView;
using nftables::Element;
using nftables::Entry;

absl::StatusOr<std::vector<Entry>> EntriesIn(Input input) {
  std::vector<Entry> entries;
  RETURN_IF_ERROR(
      netlink::ForEachMessage(input, [&](const MessageView& message) {
        return nftables::ForEachEntry(message, [&](const Entry& entry) {
          entries.push_back(entry);
          return absl::OkStatus();
        });
      }));
  return entries;
}

std::string ElementsMessage(const std::vector<Element>& elements, bool split) {
  MessageBuilder message = nftables::TableMessage(NFT_MSG_NEWSETELEM);
  message.PutString(NFTA_SET_ELEM_LIST_TABLE, "edged");
  message.PutString(NFTA_SET_ELEM_LIST_SET, "ports4");
  const size_t list = message.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
  for (const Element& element : elements) {
    nftables::PutElement(element, split, message);
  }
  message.EndNest(list);
  return Finished(std::move(message));
}

// What is ours is written as it was read.
void TryWriting(const std::vector<Entry>& entries) {
  std::vector<Element> ours;
  for (const Entry& entry : entries) {
    if (!entry.foreign && !entry.is_end) ours.push_back(entry.element);
  }
  const std::string bytes = ElementsMessage(ours, false);
  const auto again =
      EntriesIn({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  Require(again.ok() && again->size() == ours.size(),
          "every element that was written is read");
  for (size_t i = 0; i < ours.size(); ++i) {
    Require((*again)[i].element == ours[i],
            "an element is read as it was written");
  }
}

void TryJoining(const std::vector<Entry>& entries) {
  const std::vector<Element> joined = nftables::JoinRanges(entries);
  Require(std::ranges::is_sorted(joined, {}, &Element::key),
          "joined ranges are sorted");
  Require(joined.size() <= entries.size(), "ranges are joined, not made");
  Require(!nftables::ElementsText(joined).empty(), "elements have a text");
}

Element Port(uint16_t first, uint16_t last) {
  Element element{nftables::PortBytes(first), {}, {}, std::nullopt};
  if (last != first) element.key_end = nftables::PortBytes(last);
  return element;
}

Element Mapping(std::string_view address, uint16_t first, uint16_t last) {
  const nftables::Bytes ip = nftables::ToBytes(*IpAddress::Parse(address));
  const nftables::Bytes protocol = nftables::ToBytes(Protocol::kTcp);
  Element element;
  element.key = nftables::Concat({ip, protocol, nftables::PortBytes(first)});
  if (last != first) {
    element.key_end =
        nftables::Concat({ip, protocol, nftables::PortBytes(last)});
  }
  element.data = nftables::MarkBytes(0xed000100);
  return element;
}

// One element with a counter, as the kernel lists it.
std::string Counted() {
  MessageBuilder message = nftables::TableMessage(NFT_MSG_NEWSETELEM);
  const size_t list = message.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
  const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
  const size_t key = message.BeginNest(NFTA_SET_ELEM_KEY);
  message.Put(NFTA_DATA_VALUE, nftables::PortBytes(443));
  message.EndNest(key);
  const size_t expression = message.BeginNest(NFTA_SET_ELEM_EXPR);
  message.PutString(NFTA_EXPR_NAME, "counter");
  const size_t data = message.BeginNest(NFTA_EXPR_DATA);
  message.PutU64(NFTA_COUNTER_BYTES, htobe64(1'000));
  message.PutU64(NFTA_COUNTER_PACKETS, htobe64(10));
  message.EndNest(data);
  message.EndNest(expression);
  message.EndNest(entry);
  message.EndNest(list);
  return Finished(std::move(message));
}

}  // namespace

bool Try(Input input) {
  for (const uint32_t offset : {0u, 20u, 60u, UINT32_MAX}) {
    (void)nftables::EntryAt(input, offset);
  }
  const auto entries = EntriesIn(input);
  if (!entries.ok()) return false;
  Require(!nftables::EntriesText(*entries).empty(), "entries have a text");
  TryJoining(*entries);
  if (input.size() < 16 * 1024) TryWriting(*entries);
  return !entries->empty();
}

std::vector<std::string> Seeds() {
  Element to_chain = Port(80, 80);
  to_chain.verdict = {nftables::VerdictKind::kGoto, "group-1"};
  return {ElementsMessage({Port(80, 80), Port(443, 445), Port(446, 446)}, true),
          ElementsMessage({Port(65000, 65535)}, true),
          ElementsMessage({Mapping("203.0.113.1", 443, 443),
                           Mapping("203.0.113.1", 50000, 50100)},
                          false),
          ElementsMessage({Mapping("2001:db8::1", 443, 443)}, false),
          ElementsMessage({to_chain}, false),
          Counted()};
}

}  // namespace edged::fuzz
