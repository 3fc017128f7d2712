#include "common/nftables/element_codec.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/nftables/verdict_codec.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;
using netlink::MessageBuilder;

// Adds one to a key in network order; false when it was the highest.
bool Increment(Bytes& key) {
  for (auto byte = key.rbegin(); byte != key.rend(); ++byte) {
    if (++*byte != 0) return true;
  }
  return false;
}

void Decrement(Bytes& key) {
  for (auto byte = key.rbegin(); byte != key.rend(); ++byte) {
    if ((*byte)-- != 0) return;
  }
}

// The key after the element's last one; unset when there is none.
std::optional<Bytes> KeyAfter(const Element& element) {
  Bytes key = element.key_end.empty() ? element.key : element.key_end;
  if (!Increment(key)) return std::nullopt;
  return key;
}

void PutValue(uint16_t attribute, const Bytes& bytes, MessageBuilder& message) {
  const size_t nest = message.BeginNest(attribute);
  message.Put(NFTA_DATA_VALUE, bytes);
  message.EndNest(nest);
}

Bytes ReadValue(const Attribute& data) {
  // Written out: this runs for each of 60,000 elements.
  nlattr header{};
  if (data.payload.size() < sizeof header) return {};
  std::memcpy(&header, data.payload.data(), sizeof header);
  const uint16_t type = header.nla_type & NLA_TYPE_MASK;
  if (type != NFTA_DATA_VALUE || header.nla_len < sizeof header ||
      header.nla_len > data.payload.size()) {
    return {};
  }
  return Bytes(data.payload.begin() + sizeof header,
               data.payload.begin() + header.nla_len);
}

// The packets of a counter expression; 0 for any other.
uint64_t ReadPackets(const Attribute& expression) {
  uint64_t packets = 0;
  bool counter = false;
  const auto read_counter = [&packets](const Attribute& value) {
    if (value.type == NFTA_COUNTER_PACKETS && value.payload.size() == 8) {
      for (const uint8_t byte : value.payload) packets = packets << 8 | byte;
    }
    return absl::OkStatus();
  };
  const absl::Status status = netlink::ForEachAttribute(
      expression.payload, [&](const Attribute& part) -> absl::Status {
        if (part.type == NFTA_EXPR_NAME) counter = part.String() == "counter";
        if (part.type == NFTA_EXPR_DATA && counter) {
          return netlink::ForEachAttribute(part.payload, read_counter);
        }
        return absl::OkStatus();
      });
  return status.ok() ? packets : 0;
}

absl::Status ReadEntry(const Attribute& whole, Entry& entry) {
  return netlink::ForEachAttribute(
      whole.payload, [&entry](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NFTA_SET_ELEM_KEY:
            entry.element.key = ReadValue(attribute);
            break;
          case NFTA_SET_ELEM_KEY_END:
            entry.element.key_end = ReadValue(attribute);
            break;
          case NFTA_SET_ELEM_DATA: {
            entry.element.data = ReadValue(attribute);
            if (!entry.element.data.empty()) break;
            auto verdict = ReadVerdict(attribute);
            if (verdict.ok()) entry.element.verdict = *std::move(verdict);
            entry.foreign |= !verdict.ok();
            break;
          }
          case NFTA_SET_ELEM_FLAGS: {
            ASSIGN_OR_RETURN(const uint32_t flags, attribute.Be32());
            entry.is_end = (flags & NFT_SET_ELEM_INTERVAL_END) != 0;
            break;
          }
          case NFTA_SET_ELEM_EXPR:
            entry.element.packets = ReadPackets(attribute);
            break;
          default:
            break;
        }
        return absl::OkStatus();
      });
}

void PutEntries(const Element& element, bool split, bool with_data,
                MessageBuilder& message) {
  const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
  PutValue(NFTA_SET_ELEM_KEY, element.key, message);
  if (!split && !element.key_end.empty()) {
    PutValue(NFTA_SET_ELEM_KEY_END, element.key_end, message);
  }
  if (with_data && element.verdict) {
    PutVerdict(NFTA_SET_ELEM_DATA, *element.verdict, message);
  } else if (with_data && !element.data.empty()) {
    PutValue(NFTA_SET_ELEM_DATA, element.data, message);
  }
  message.EndNest(entry);
  const auto after = split ? KeyAfter(element) : std::nullopt;
  if (!after) return;
  const size_t end = message.BeginNest(NFTA_LIST_ELEM);
  message.PutBe32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  PutValue(NFTA_SET_ELEM_KEY, *after, message);
  message.EndNest(end);
}

std::string Hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

bool SplitsRanges(const Set& set) {
  return set.interval && set.key.size() == 1;
}

size_t EntriesOf(const Element& element, bool split) {
  return split && KeyAfter(element) ? 2 : 1;
}

void PutElement(const Element& element, bool split, MessageBuilder& message) {
  PutEntries(element, split, true, message);
}

void PutKey(const Element& element, bool split, MessageBuilder& message) {
  PutEntries(element, split, false, message);
}

absl::Status ForEachEntry(
    const netlink::MessageView& message,
    const std::function<absl::Status(const Entry&)>& each) {
  RETURN_IF_ERROR(message.HeaderAs<nfgenmsg>().status());
  Entry entry;
  return netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const Attribute& list) -> absl::Status {
        if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return absl::OkStatus();
        return netlink::ForEachAttribute(
            list.payload, [&](const Attribute& whole) -> absl::Status {
              entry = Entry();
              RETURN_IF_ERROR(ReadEntry(whole, entry));
              Element& element = entry.element;
              entry.foreign |= element.key.empty();
              if (element.key_end == element.key) element.key_end.clear();
              return each(entry);
            });
      });
}

std::vector<Element> JoinRanges(std::vector<Entry> entries) {
  // Where one range ends and the next begins at the same key, the end counts
  // first.
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    if (a.element.key != b.element.key) return a.element.key < b.element.key;
    return a.is_end && !b.is_end;
  });
  std::vector<Element> elements;
  bool open = false;
  const auto close_before = [&](Bytes key) {
    if (!open) return;
    Decrement(key);
    if (key != elements.back().key) elements.back().key_end = std::move(key);
    open = false;
  };
  for (Entry& entry : entries) {
    close_before(entry.element.key);
    if (entry.is_end) continue;
    elements.push_back(std::move(entry.element));
    open = true;
  }
  // The last range may reach the highest key, which has none after it.
  if (open) {
    Bytes highest(elements.back().key.size(), 0xff);
    if (highest != elements.back().key) {
      elements.back().key_end = std::move(highest);
    }
  }
  return elements;
}

std::optional<size_t> EntryAt(std::span<const uint8_t> bytes, uint32_t offset) {
  std::optional<size_t> found;
  const auto find = [&](const netlink::MessageView& message) {
    return netlink::ForEachAttribute(
        message.AttributesAfter(sizeof(nfgenmsg)),
        [&](const Attribute& list) -> absl::Status {
          if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return absl::OkStatus();
          size_t position = 0;
          return netlink::ForEachAttribute(
              list.payload, [&](const Attribute& entry) {
                const auto begin =
                    static_cast<size_t>(entry.payload.data() - bytes.data()) -
                    NLA_HDRLEN;
                if (offset >= begin &&
                    offset < begin + NLA_HDRLEN + entry.payload.size()) {
                  found = position;
                }
                ++position;
                return absl::OkStatus();
              });
        });
  };
  if (!netlink::ForEachMessage(bytes, find).ok()) return std::nullopt;
  return found;
}

std::string EntriesText(const std::vector<Entry>& entries) {
  std::vector<std::string> texts;
  for (const Entry& entry : entries) {
    const Element& element = entry.element;
    std::string text = Hex(element.key);
    if (entry.foreign) text += "?";
    if (!element.key_end.empty()) text += " - " + Hex(element.key_end);
    if (entry.is_end) text += " end";
    if (!element.data.empty()) text += " : " + Hex(element.data);
    if (element.verdict) {
      text += fmt::format(" : verdict {} {}",
                          static_cast<int>(element.verdict->kind),
                          element.verdict->chain);
    }
    texts.push_back(std::move(text));
  }
  std::ranges::sort(texts);
  return fmt::format("{{ {} }}", fmt::join(texts, ", "));
}

std::string ElementsText(const std::vector<Element>& elements) {
  std::vector<Entry> entries;
  for (const Element& element : elements) entries.push_back({element});
  return EntriesText(entries);
}

}  // namespace edged::nftables
