#include "common/protocol/bytes.h"

#include <catch2/catch.hpp>
#include <string>

namespace edged::protocol {
namespace {

IpAddress Ip(std::string_view text) { return IpAddress::Parse(text).value(); }

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

TEST_CASE("bytes: writes big endian and length-prefixed", "[bytes]") {
  ByteWriter writer(64);
  writer.Number8(0x01);
  writer.Number16(0x0203);
  writer.Number32(0x04050607);
  writer.Number64(0x08090a0b0c0d0e0f);
  writer.String("ab");
  writer.Address(Ip("192.0.2.1"));
  writer.Address(Ip("2001:db8::1"));
  CHECK(Hex(writer.view()) ==
        "01"
        "0203"
        "04050607"
        "08090a0b0c0d0e0f"
        "000000026162"
        "04c0000201"
        "0620010db8000000000000000000000001");
}

TEST_CASE("bytes: reads what was written, and notices every cut", "[bytes]") {
  ByteWriter writer(64);
  writer.Number8(0xff);
  writer.Number16(0xfffe);
  writer.Number32(0xfffffffd);
  writer.Number64(0xfffffffffffffffc);
  writer.String("text");
  writer.Address(Ip("::1"));
  writer.Address(Ip("10.0.0.1"));
  const auto read = [](ByteReader& reader) {
    bool same = reader.Number8() == 0xff;
    same = reader.Number16() == 0xfffe && same;
    same = reader.Number32() == 0xfffffffd && same;
    same = reader.Number64() == 0xfffffffffffffffc && same;
    same = reader.String() == "text" && same;
    same = reader.Address() == Ip("::1") && same;
    return reader.Address() == Ip("10.0.0.1") && same;
  };
  ByteReader whole(writer.view());
  CHECK(read(whole));
  CHECK(whole.Complete());
  for (size_t size = 0; size < writer.view().size(); ++size) {
    ByteReader cut(writer.view().first(size));
    CHECK_FALSE(read(cut));
    CHECK_FALSE(cut.ok());
    CHECK_FALSE(cut.Complete());
  }
  writer.Number8(0);
  ByteReader longer(writer.view());
  CHECK(read(longer));
  CHECK(longer.ok());
  CHECK_FALSE(longer.Complete());
}

TEST_CASE("bytes: gives zeros after the first failure", "[bytes]") {
  const std::string bytes(
      "\x00\x00\x00\x05"
      "abc\x04",
      8);
  ByteReader reader(AsBytes(bytes));
  CHECK(reader.String().empty());  // 5 bytes of which 4 are there
  CHECK_FALSE(reader.ok());
  CHECK(reader.Number8() == 0);
  CHECK(reader.Raw(1).empty());
  CHECK(reader.Address() == IpAddress());

  const std::string family("\x05\x01\x02\x03\x04", 5);
  ByteReader unknown(AsBytes(family));
  CHECK(unknown.Address() == IpAddress());
  CHECK_FALSE(unknown.ok());

  const std::string huge("\xff\xff\xff\xff", 4);
  ByteReader length(AsBytes(huge));
  CHECK(length.String().empty());
  CHECK_FALSE(length.ok());
}

}  // namespace
}  // namespace edged::protocol
