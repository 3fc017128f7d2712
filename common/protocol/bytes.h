#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/net_types.h"

// The byte form of what both ends must agree on: numbers are big endian,
// strings have a 32 bit length in front, addresses their family (4 or 6).

namespace edged::protocol {

class ByteWriter {
 public:
  // Room for `capacity` bytes, so that a secret is not left behind in a buffer
  // that was outgrown.
  explicit ByteWriter(size_t capacity) { bytes_.reserve(capacity); }

  void Number8(uint8_t value) { Number(value, 1); }
  void Number16(uint16_t value) { Number(value, 2); }
  void Number32(uint32_t value) { Number(value, 4); }
  void Number64(uint64_t value) { Number(value, 8); }
  void Raw(std::span<const uint8_t> bytes);
  void String(std::string_view text);
  void Address(const IpAddress& address);

  std::string& bytes() { return bytes_; }
  std::span<const uint8_t> view() const;

 private:
  void Number(uint64_t value, int size);

  std::string bytes_;
};

// Reads what a ByteWriter wrote. After the first read that goes beyond the end
// or meets an unknown family every read gives zeros, and ok() is false.
// Borrows the bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  uint8_t Number8() { return static_cast<uint8_t>(Number(1)); }
  uint16_t Number16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t Number32() { return static_cast<uint32_t>(Number(4)); }
  uint64_t Number64() { return Number(8); }
  // Exactly `size` bytes, or none after a failure.
  std::span<const uint8_t> Raw(size_t size);
  std::string String();
  IpAddress Address();

  bool ok() const { return ok_; }
  // Everything was read, and nothing is left.
  bool Complete() const { return ok_ && rest_.empty(); }

 private:
  uint64_t Number(size_t size);

  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

// The bytes of a string, and back.
std::span<const uint8_t> AsBytes(std::string_view text);

}  // namespace edged::protocol
