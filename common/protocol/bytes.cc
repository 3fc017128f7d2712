#include "common/protocol/bytes.h"

namespace edged::protocol {

void ByteWriter::Number(uint64_t value, int size) {
  for (int shift = (size - 1) * 8; shift >= 0; shift -= 8) {
    bytes_.push_back(static_cast<char>(value >> shift));
  }
}

void ByteWriter::Raw(std::span<const uint8_t> bytes) {
  bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void ByteWriter::String(std::string_view text) {
  Number32(static_cast<uint32_t>(text.size()));
  bytes_.append(text);
}

void ByteWriter::Address(const IpAddress& address) {
  Number8(static_cast<uint8_t>(address.family()));
  Raw(address.bytes());
}

std::span<const uint8_t> ByteWriter::view() const { return AsBytes(bytes_); }

uint64_t ByteReader::Number(size_t size) {
  uint64_t value = 0;
  for (const uint8_t byte : Raw(size)) value = value << 8 | byte;
  return value;
}

std::span<const uint8_t> ByteReader::Raw(size_t size) {
  if (!ok_ || size > rest_.size()) {
    ok_ = false;
    return {};
  }
  const auto taken = rest_.first(size);
  rest_ = rest_.subspan(size);
  return taken;
}

std::string ByteReader::String() {
  const auto bytes = Raw(Number32());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

IpAddress ByteReader::Address() {
  const uint8_t family = Number8();
  if (family != static_cast<uint8_t>(Family::kIpv4) &&
      family != static_cast<uint8_t>(Family::kIpv6)) {
    ok_ = false;
  }
  const bool ipv4 = family == static_cast<uint8_t>(Family::kIpv4);
  const auto bytes = Raw(ipv4 ? 4 : 16);
  return ok_ ? IpAddress::FromBytes(bytes) : IpAddress();
}

std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace edged::protocol
