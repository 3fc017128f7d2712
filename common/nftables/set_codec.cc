#include "common/nftables/set_codec.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <string_view>

#include "common/nftables/check.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

// What nft stores with a set for its own listing (libnftnl/udata.h): records of
// type, length, value.
constexpr uint8_t kKeyByteOrder = 0, kDataByteOrder = 1, kDataInterval = 6;

// What we make, and what the kernel may show of it.
constexpr uint32_t kKnownFlags = NFT_SET_ANONYMOUS | NFT_SET_CONSTANT |
                                 NFT_SET_INTERVAL | NFT_SET_MAP |
                                 NFT_SET_CONCAT;

void PutRecord(std::vector<uint8_t>& records, uint8_t type, uint32_t value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  records.push_back(type);
  records.push_back(sizeof value);
  records.insert(records.end(), bytes, bytes + sizeof value);
}

void PutUserdata(const SetLayout& layout, netlink::MessageBuilder& message) {
  std::vector<uint8_t> records;
  PutRecord(records, kKeyByteOrder, static_cast<uint32_t>(layout.key.order));
  if ((layout.flags & NFT_SET_MAP) != 0) {
    PutRecord(records, kDataByteOrder,
              static_cast<uint32_t>(layout.data.order));
    PutRecord(records, kDataInterval, 0);
  }
  message.Put(NFTA_SET_USERDATA, records);
}

void PutDescription(const SetLayout& layout, netlink::MessageBuilder& message) {
  if (layout.size == 0 && layout.parts.empty()) return;
  const size_t description = message.BeginNest(NFTA_SET_DESC);
  if (layout.size != 0) message.PutBe32(NFTA_SET_DESC_SIZE, layout.size);
  if (!layout.parts.empty()) {
    const size_t parts = message.BeginNest(NFTA_SET_DESC_CONCAT);
    for (const uint32_t part : layout.parts) {
      const size_t entry = message.BeginNest(NFTA_LIST_ELEM);
      message.PutBe32(NFTA_SET_FIELD_LEN, part);
      message.EndNest(entry);
    }
    message.EndNest(parts);
  }
  message.EndNest(description);
}

struct SetAttributes {
  uint32_t flags = 0;
  uint32_t key_type = 0;
  uint32_t data_type = 0;
  // Each element has exactly a counter; none, or something else too.
  bool counter = false;
  bool other_state = false;
};

absl::Status ReadExpression(std::span<const uint8_t> expression,
                            SetAttributes& attributes) {
  return netlink::ForEachAttribute(
      expression, [&](const netlink::Attribute& attribute) {
        if (attribute.type != NFTA_EXPR_NAME) return absl::OkStatus();
        const bool counts = attribute.String() == "counter";
        attributes.other_state |= !counts || attributes.counter;
        attributes.counter |= counts;
        return absl::OkStatus();
      });
}

absl::Status ReadAttribute(const netlink::Attribute& attribute, SetView& view,
                           SetAttributes& attributes) {
  switch (attribute.type) {
    case NFTA_SET_TABLE:
      view.table = attribute.String();
      break;
    case NFTA_SET_NAME:
      view.set.name = attribute.String();
      break;
    case NFTA_SET_FLAGS: {
      ASSIGN_OR_RETURN(attributes.flags, attribute.Be32());
      break;
    }
    case NFTA_SET_KEY_TYPE: {
      ASSIGN_OR_RETURN(attributes.key_type, attribute.Be32());
      break;
    }
    case NFTA_SET_DATA_TYPE: {
      ASSIGN_OR_RETURN(attributes.data_type, attribute.Be32());
      break;
    }
    case NFTA_SET_EXPR:
      return ReadExpression(attribute.payload, attributes);
    case NFTA_SET_EXPRESSIONS:
      return netlink::ForEachAttribute(
          attribute.payload, [&](const netlink::Attribute& entry) {
            return ReadExpression(entry.payload, attributes);
          });
    default:
      break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SetLayout> LayoutOf(const Set& set) {
  RETURN_IF_ERROR(CheckSet(set));
  SetLayout layout;
  layout.name = set.name;
  layout.counter = set.counter;
  const std::vector<DataType> key = DataTypesOf(set.key);
  layout.key = Concatenated(key);
  if (!set.data.empty()) {
    layout.flags |= NFT_SET_MAP;
    layout.data = Concatenated(DataTypesOf(set.data));
  }
  if (set.interval) {
    layout.flags |= NFT_SET_INTERVAL;
    for (const DataType& part : key) {
      if (part.order == ByteOrder::kHost && part.size > 1) {
        return InvalidArgument(
            "set {}: no ranges over marks and interface names", set.name);
      }
      if (key.size() > 1) layout.parts.push_back(part.size);
    }
    if (key.size() > 1) layout.flags |= NFT_SET_CONCAT;
  }
  return layout;
}

void PutSet(const SetLayout& layout, const std::string& table,
            netlink::MessageBuilder& message) {
  message.PutString(NFTA_SET_TABLE, table);
  message.PutString(NFTA_SET_NAME, layout.name);
  message.PutBe32(NFTA_SET_FLAGS, layout.flags);
  message.PutBe32(NFTA_SET_KEY_TYPE, layout.key.id);
  message.PutBe32(NFTA_SET_KEY_LEN, layout.key.size);
  if ((layout.flags & NFT_SET_MAP) != 0) {
    message.PutBe32(NFTA_SET_DATA_TYPE, layout.data.id);
    message.PutBe32(NFTA_SET_DATA_LEN, layout.data.size);
  }
  message.PutBe32(NFTA_SET_ID, layout.id);
  PutDescription(layout, message);
  PutUserdata(layout, message);
  if (layout.counter) {
    const size_t expression = message.BeginNest(NFTA_SET_EXPR);
    message.PutString(NFTA_EXPR_NAME, "counter");
    message.EndNest(message.BeginNest(NFTA_EXPR_DATA));
    message.EndNest(expression);
  }
}

absl::StatusOr<SetView> ReadSet(const netlink::MessageView& message) {
  RETURN_IF_ERROR(message.HeaderAs<nfgenmsg>().status());
  SetView view;
  SetAttributes attributes;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const netlink::Attribute& attribute) {
        return ReadAttribute(attribute, view, attributes);
      }));
  view.anonymous = (attributes.flags & NFT_SET_ANONYMOUS) != 0;
  view.set.interval = (attributes.flags & NFT_SET_INTERVAL) != 0;
  view.set.counter = attributes.counter;
  const bool is_map = (attributes.flags & NFT_SET_MAP) != 0;
  const auto key = TypesOf(attributes.key_type);
  const auto data =
      is_map ? TypesOf(attributes.data_type) : std::vector<Type>();
  const bool known = (attributes.flags & ~kKnownFlags) == 0 &&
                     !attributes.other_state && key && data;
  if (known) {
    view.set.key = *key;
    view.set.data = *data;
  }
  return view;
}

}  // namespace edged::nftables
