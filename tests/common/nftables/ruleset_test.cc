#include "common/nftables/ruleset.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "common/nftables/values.h"

namespace edged::nftables {
namespace {

std::string Hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

TEST_CASE("ruleset: builds bytes as the kernel keeps them", "[ruleset]") {
  CHECK(Hex(ToBytes(IpAddress::Parse("192.0.2.1").value())) == "c0000201");
  CHECK(Hex(ToBytes(IpAddress::Parse("fd00::1").value())) ==
        "fd000000000000000000000000000001");
  CHECK(Hex(ToBytes(Protocol::kUdp)) == "11");
  CHECK(Hex(PortBytes(258)) == "0102");
  CHECK(Hex(NameBytes("lo")) == "6c6f0000000000000000000000000000");
  CHECK(Hex(NameBytes("sixteen-letters-")) ==
        "7369787465656e2d6c65747465727300");
  uint32_t mark = 0;
  std::memcpy(&mark, MarkBytes(0xed000100).data(), sizeof mark);
  CHECK(mark == 0xed000100);
}

TEST_CASE("ruleset: pads each part of a concatenation", "[ruleset]") {
  CHECK(Hex(Concat({ToBytes(Protocol::kTcp), PortBytes(80)})) ==
        "0600000000500000");
  CHECK(Hex(Concat({})) == "");
}

TEST_CASE("ruleset: sizes are those of registers", "[ruleset]") {
  CHECK(SizeOf(std::vector{Type::kInetService}) == 2);
  CHECK(SizeOf(std::vector{Type::kInetProto, Type::kInetService}) == 8);
  CHECK(SizeOf(std::vector{Type::kIpv6Addr, Type::kInetProto,
                           Type::kInetService}) == 24);
  CHECK(SizeOf(std::vector{Type::kVerdict}) == 0);
  CHECK(SizeOf(std::vector<Type>{}) == 0);
  CHECK(SizeOf(std::vector{Field::kIifname, Field::kCtMark}) == 20);
  CHECK(SizeOf(std::vector{Field::kThDport}) == 2);
}

TEST_CASE("values: ranges are prefixes where nft writes them so", "[values]") {
  const auto range = [](Type type, const Bytes& first, const Bytes& last) {
    return RangeText(type, first.data(), last.data());
  };
  CHECK(range(Type::kIpv4Addr, {10, 0, 0, 0}, {10, 0, 0, 255}) ==
        "10.0.0.0/24");
  CHECK(range(Type::kIpv4Addr, {10, 0, 0, 4}, {10, 0, 0, 5}) == "10.0.0.4/31");
  CHECK(range(Type::kIpv4Addr, {10, 0, 0, 5}, {10, 0, 0, 6}) ==
        "10.0.0.5-10.0.0.6");
  CHECK(range(Type::kIpv4Addr, {0, 0, 0, 0}, {255, 255, 255, 255}) ==
        "0.0.0.0/0");
  CHECK(range(Type::kInetService, PortBytes(1024), PortBytes(2047)) ==
        "1024-2047");
  CHECK(range(Type::kInetService, PortBytes(80), PortBytes(80)) == "80");
  CHECK(range(Type::kMark, MarkBytes(256), MarkBytes(511)) == "0x00000100/24");
  CHECK(range(Type::kInetProto, {6}, {17}) == "6-17");
}

TEST_CASE("values: unknown numbers and bits are printed as such", "[values]") {
  CHECK(ValueText(Field::kL4proto, {253}) == "253");
  CHECK(ValueText(Field::kIcmpType, {77}) == "77");
  CHECK(BitsText(Field::kCtState, MarkBytes(kCtNew | 128)) == "new,0x80");
  CHECK(BitsText(Field::kTcpFlags, {0}) == "0x0");
}

}  // namespace edged::nftables
