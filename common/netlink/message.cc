#include "common/netlink/message.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "common/status.h"

namespace edged::netlink {
namespace {

static_assert(NLMSG_HDRLEN == sizeof(nlmsghdr));
static_assert(NLA_HDRLEN == sizeof(nlattr));

template <typename T>
absl::StatusOr<T> Fixed(const Attribute& attribute) {
  if (attribute.payload.size() != sizeof(T)) {
    return InvalidArgument("netlink attribute {} has {} bytes instead of {}",
                           attribute.type, attribute.payload.size(), sizeof(T));
  }
  T value;
  std::memcpy(&value, attribute.payload.data(), sizeof value);
  return value;
}

template <typename T>
std::span<const uint8_t> BytesOf(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

}  // namespace

MessageBuilder::MessageBuilder(uint16_t type, uint16_t flags, size_t limit)
    : limit_(limit) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags | NLM_F_REQUEST;
  PutHeader(header);
}

void MessageBuilder::PutRaw(std::span<const uint8_t> bytes) {
  const size_t room = limit_ - std::min(limit_, bytes_.size());
  if (overflowed_ || bytes.size() > room || NLMSG_ALIGN(bytes.size()) > room) {
    overflowed_ = true;
    return;
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

// Appends an attribute with a zeroed payload and returns where the payload
// begins; nullptr when it does not fit. `attribute` may carry NLA_F_* bits.
uint8_t* MessageBuilder::Reserve(uint16_t attribute, size_t payload) {
  const size_t room = limit_ - std::min(limit_, bytes_.size());
  if (overflowed_ ||
      payload > std::numeric_limits<uint16_t>::max() - NLA_HDRLEN ||
      NLA_ALIGN(NLA_HDRLEN + payload) > room) {
    overflowed_ = true;
    return nullptr;
  }
  const size_t begin = bytes_.size();
  bytes_.resize(begin + NLA_ALIGN(NLA_HDRLEN + payload));
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + payload), attribute};
  std::memcpy(&bytes_[begin], &header, sizeof header);
  return bytes_.data() + begin + NLA_HDRLEN;
}

void MessageBuilder::Put(uint16_t attribute, std::span<const uint8_t> payload) {
  uint8_t* to = Reserve(attribute, payload.size());
  if (to != nullptr) std::copy(payload.begin(), payload.end(), to);
}

void MessageBuilder::PutU8(uint16_t attribute, uint8_t value) {
  Put(attribute, BytesOf(value));
}

void MessageBuilder::PutU16(uint16_t attribute, uint16_t value) {
  Put(attribute, BytesOf(value));
}

void MessageBuilder::PutU32(uint16_t attribute, uint32_t value) {
  Put(attribute, BytesOf(value));
}

void MessageBuilder::PutU64(uint16_t attribute, uint64_t value) {
  Put(attribute, BytesOf(value));
}

void MessageBuilder::PutBe16(uint16_t attribute, uint16_t value) {
  PutU16(attribute, htons(value));
}

void MessageBuilder::PutBe32(uint16_t attribute, uint32_t value) {
  PutU32(attribute, htonl(value));
}

void MessageBuilder::PutString(uint16_t attribute, std::string_view text) {
  uint8_t* to = Reserve(attribute, text.size() + 1);
  if (to != nullptr) std::copy(text.begin(), text.end(), to);
}

void MessageBuilder::PutAddress(uint16_t attribute, const IpAddress& address) {
  Put(attribute, address.bytes());
}

void MessageBuilder::PutFlag(uint16_t attribute) { Put(attribute, {}); }

size_t MessageBuilder::BeginNest(uint16_t attribute) {
  const size_t nest = bytes_.size();
  Reserve(attribute | NLA_F_NESTED, 0);
  return nest;
}

void MessageBuilder::EndNest(size_t nest) {
  if (overflowed_) return;
  const size_t length = bytes_.size() - std::min(bytes_.size(), nest);
  if (length < NLA_HDRLEN || length > std::numeric_limits<uint16_t>::max()) {
    overflowed_ = true;
    return;
  }
  const auto value = static_cast<uint16_t>(length);
  std::memcpy(&bytes_[nest + offsetof(nlattr, nla_len)], &value, sizeof value);
}

void MessageBuilder::Truncate(size_t size) {
  if (size >= NLMSG_HDRLEN && size < bytes_.size()) bytes_.resize(size);
}

absl::StatusOr<std::span<uint8_t>> MessageBuilder::Finish() {
  if (overflowed_ || bytes_.size() < NLMSG_HDRLEN) {
    return absl::ResourceExhaustedError(
        fmt::format("netlink message does not fit into {} bytes", limit_));
  }
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(&bytes_[offsetof(nlmsghdr, nlmsg_len)], &length, sizeof length);
  return std::span<uint8_t>(bytes_);
}

absl::StatusOr<uint8_t> Attribute::U8() const { return Fixed<uint8_t>(*this); }

absl::StatusOr<uint16_t> Attribute::U16() const {
  return Fixed<uint16_t>(*this);
}

absl::StatusOr<uint32_t> Attribute::U32() const {
  return Fixed<uint32_t>(*this);
}

absl::StatusOr<uint64_t> Attribute::U64() const {
  return Fixed<uint64_t>(*this);
}

absl::StatusOr<uint16_t> Attribute::Be16() const {
  ASSIGN_OR_RETURN(const uint16_t value, U16());
  return ntohs(value);
}

absl::StatusOr<uint32_t> Attribute::Be32() const {
  ASSIGN_OR_RETURN(const uint32_t value, U32());
  return ntohl(value);
}

absl::StatusOr<IpAddress> Attribute::Address() const {
  if (payload.size() != 4 && payload.size() != 16) {
    return InvalidArgument(
        "netlink attribute {} has {} bytes, which is no IP address", type,
        payload.size());
  }
  return IpAddress::FromBytes(payload);
}

std::string_view Attribute::String() const {
  const std::string_view text(reinterpret_cast<const char*>(payload.data()),
                              payload.size());
  return text.substr(0, text.find('\0'));
}

absl::Status ForEachAttribute(
    std::span<const uint8_t> bytes,
    const std::function<absl::Status(const Attribute&)>& each) {
  while (!bytes.empty()) {
    nlattr header{};
    if (bytes.size() >= sizeof header) {
      std::memcpy(&header, bytes.data(), sizeof header);
    }
    if (header.nla_len < NLA_HDRLEN || header.nla_len > bytes.size()) {
      return InvalidArgument(
          "netlink attribute {} claims {} bytes where {} are left",
          header.nla_type & NLA_TYPE_MASK, header.nla_len, bytes.size());
    }
    RETURN_IF_ERROR(
        each({static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
              bytes.subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN)}));
    // The last one may come without its padding.
    bytes = bytes.subspan(
        std::min<size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
  return absl::OkStatus();
}

std::span<const uint8_t> MessageView::AttributesAfter(
    size_t header_size) const {
  return payload.subspan(
      std::min<size_t>(NLMSG_ALIGN(header_size), payload.size()));
}

absl::Status MessageView::TooShort(size_t wanted) const {
  return InvalidArgument("netlink message {} has {} bytes instead of {}", type,
                         payload.size(), wanted);
}

absl::Status ForEachMessage(
    std::span<const uint8_t> bytes,
    const std::function<absl::Status(const MessageView&)>& each) {
  while (!bytes.empty()) {
    nlmsghdr header{};
    if (bytes.size() >= sizeof header) {
      std::memcpy(&header, bytes.data(), sizeof header);
    }
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > bytes.size()) {
      return InvalidArgument(
          "netlink message {} claims {} bytes where {} are left",
          header.nlmsg_type, header.nlmsg_len, bytes.size());
    }
    RETURN_IF_ERROR(
        each({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
              header.nlmsg_pid,
              bytes.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN)}));
    bytes = bytes.subspan(
        std::min<size_t>(NLMSG_ALIGN(size_t{header.nlmsg_len}), bytes.size()));
  }
  return absl::OkStatus();
}

}  // namespace edged::netlink
