#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/net_types.h"

// Netlink messages as bounded bytes (RFC 3549; include/uapi/linux/netlink.h).
// Nothing here allocates per attribute, and nothing reads or writes past the
// end: the first mistake sticks and is returned by Finish() or by the reader.

namespace edged::netlink {

// Builds one message: header, an optional fixed family header, attributes.
class MessageBuilder {
 public:
  // `type` and `flags` as in nlmsghdr; NLM_F_REQUEST is added. The sequence
  // number is set by the socket. A message never grows past `limit` bytes.
  MessageBuilder(uint16_t type, uint16_t flags, size_t limit = 64 * 1024);

  // The family's fixed header (rtmsg, genlmsghdr, ...), before any attribute.
  template <typename Header>
  void PutHeader(const Header& header) {
    PutRaw({reinterpret_cast<const uint8_t*>(&header), sizeof header});
  }
  void PutRaw(std::span<const uint8_t> bytes);

  void Put(uint16_t attribute, std::span<const uint8_t> payload);
  void PutU8(uint16_t attribute, uint8_t value);
  void PutU16(uint16_t attribute, uint16_t value);            // host order
  void PutU32(uint16_t attribute, uint32_t value);            // host order
  void PutU64(uint16_t attribute, uint64_t value);            // host order
  void PutBe16(uint16_t attribute, uint16_t value);           // network order
  void PutBe32(uint16_t attribute, uint32_t value);           // network order
  void PutString(uint16_t attribute, std::string_view text);  // with a final 0
  void PutAddress(uint16_t attribute, const IpAddress& address);
  void PutFlag(uint16_t attribute);  // no payload

  // Everything put between the two calls lies inside `attribute` (with
  // NLA_F_NESTED). Nests close in reverse order.
  size_t BeginNest(uint16_t attribute);
  void EndNest(size_t nest);

  size_t size() const { return bytes_.size(); }
  // Cuts the message back to an earlier size() with no nest opened since; used
  // to take back an attribute that no longer fitted.
  void Truncate(size_t size);
  bool overflowed() const { return overflowed_; }
  void ClearOverflow() { overflowed_ = false; }

  // The message with its length filled in; valid until the next change.
  // ResourceExhausted when it did not fit.
  absl::StatusOr<std::span<uint8_t>> Finish();

 private:
  uint8_t* Reserve(uint16_t attribute, size_t payload);

  std::vector<uint8_t> bytes_;
  size_t limit_;
  bool overflowed_ = false;
};

// One attribute as it was received; borrows the message's bytes.
struct Attribute {
  uint16_t type = 0;  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
  std::span<const uint8_t> payload;

  // Each is InvalidArgument when the payload has another size.
  absl::StatusOr<uint8_t> U8() const;
  absl::StatusOr<uint16_t> U16() const;
  absl::StatusOr<uint32_t> U32() const;
  absl::StatusOr<uint64_t> U64() const;
  absl::StatusOr<uint16_t> Be16() const;
  absl::StatusOr<uint32_t> Be32() const;
  absl::StatusOr<IpAddress> Address() const;  // 4 or 16 bytes
  // Up to the first 0 byte or the end.
  std::string_view String() const;
};

// Calls `each` for every attribute in `bytes`, in order, and stops at the first
// error. A malformed length is InvalidArgument.
absl::Status ForEachAttribute(
    std::span<const uint8_t> bytes,
    const std::function<absl::Status(const Attribute&)>& each);

// One received message; borrows the receive buffer.
struct MessageView {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  uint32_t port = 0;
  std::span<const uint8_t> payload;  // after nlmsghdr

  // A copy of the fixed family header; InvalidArgument when it is cut short.
  template <typename Header>
  absl::StatusOr<Header> HeaderAs() const {
    Header header;
    if (payload.size() < sizeof header) return TooShort(sizeof header);
    __builtin_memcpy(&header, payload.data(), sizeof header);
    return header;
  }
  // The bytes of the attributes after a fixed header of `header_size` bytes.
  std::span<const uint8_t> AttributesAfter(size_t header_size) const;

 private:
  absl::Status TooShort(size_t wanted) const;
};

// Calls `each` for every message in `bytes` (one datagram).
absl::Status ForEachMessage(
    std::span<const uint8_t> bytes,
    const std::function<absl::Status(const MessageView&)>& each);

}  // namespace edged::netlink
