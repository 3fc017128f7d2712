#include "common/netlink/message.h"

#include <linux/netlink.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "common/netlink/kernel_error.h"
#include "common/status.h"

namespace edged::netlink {
namespace {

constexpr uint16_t kType = 100;

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::vector<uint8_t> Finished(MessageBuilder& message) {
  const auto bytes = message.Finish();
  REQUIRE(bytes.ok());
  return {bytes->begin(), bytes->end()};
}

// "type:payload" of every attribute, and the error that ended the list.
std::string Attributes(std::span<const uint8_t> bytes) {
  std::string text;
  const absl::Status status =
      ForEachAttribute(bytes, [&](const Attribute& attribute) {
        text += fmt::format("{}:{} ", attribute.type, Hex(attribute.payload));
        return absl::OkStatus();
      });
  return status.ok() ? text : text + std::string(Message(status));
}

std::string Messages(std::span<const uint8_t> bytes) {
  std::string text;
  const absl::Status status =
      ForEachMessage(bytes, [&](const MessageView& message) {
        text += fmt::format("[{} {:#x} {} {}] {}", message.type, message.flags,
                            message.sequence, message.port,
                            Attributes(message.payload));
        return absl::OkStatus();
      });
  return status.ok() ? text : text + std::string(Message(status));
}

TEST_CASE("netlink_message: pads attributes and writes both byte orders",
          "[netlink_message]") {
  MessageBuilder message(kType, NLM_F_CREATE);
  message.PutU8(1, 0xab);
  message.PutU16(2, 0x0102);
  message.PutBe16(3, 0x0102);
  message.PutU32(4, 0x01020304);
  message.PutBe32(5, 0x01020304);
  message.PutU64(6, 7);
  message.PutString(7, "lo");
  message.PutAddress(8, IpAddress::FromIpv4(0xc0000201));
  message.PutFlag(9);
  CHECK(Messages(Finished(message)) ==
        "[100 0x401 0 0] 1:ab 2:0201 3:0102 4:04030201 5:01020304 "
        "6:0700000000000000 7:6c6f00 8:c0000201 9: ");
  CHECK(message.size() % 4 == 0);
}

TEST_CASE("netlink_message: nests close around what they hold",
          "[netlink_message]") {
  MessageBuilder message(kType, 0);
  const size_t outer = message.BeginNest(1);
  const size_t inner = message.BeginNest(2);
  message.PutU8(3, 9);
  message.EndNest(inner);
  message.PutU8(4, 8);
  message.EndNest(outer);
  const auto bytes = Finished(message);
  // The flag NLA_F_NESTED is on the wire and hidden from readers.
  CHECK(Hex(std::span(bytes).subspan(NLMSG_HDRLEN)) ==
        "18000180"
        "0c000280"
        "0500030009000000"
        "0500040008000000");
  CHECK(Messages(bytes) ==
        "[100 0x1 0 0] 1:0c00028005000300090000000500040008000000 ");
}

TEST_CASE("netlink_message: an overflow sticks until it is taken back",
          "[netlink_message]") {
  MessageBuilder message(kType, 0, 40);
  const size_t nest = message.BeginNest(1);
  message.PutU32(2, 1);
  const size_t before = message.size();
  message.Put(3, std::vector<uint8_t>(9));
  CHECK(message.overflowed());
  message.PutU8(4, 1);  // would fit, but comes after the one that is missing
  CHECK(message.size() == before);
  CHECK(message.Finish().status().code() ==
        absl::StatusCode::kResourceExhausted);

  message.Truncate(before);
  message.ClearOverflow();
  message.EndNest(nest);
  CHECK(Messages(Finished(message)) == "[100 0x1 0 0] 1:0800020001000000 ");
}

TEST_CASE("netlink_message: refuses what 16 bits of length cannot say",
          "[netlink_message]") {
  MessageBuilder exact(kType, 0, 1 << 20);
  exact.Put(1, std::vector<uint8_t>(65531));
  CHECK(exact.Finish().ok());

  MessageBuilder one_more(kType, 0, 1 << 20);
  one_more.Put(1, std::vector<uint8_t>(65532));
  CHECK_FALSE(one_more.Finish().ok());

  MessageBuilder nest(kType, 0, 1 << 20);
  const size_t begin = nest.BeginNest(1);
  nest.Put(2, std::vector<uint8_t>(40000));
  nest.Put(3, std::vector<uint8_t>(40000));
  nest.EndNest(begin);
  CHECK_FALSE(nest.Finish().ok());
}

TEST_CASE("netlink_message: a limit holds for headers and nests too",
          "[netlink_message]") {
  MessageBuilder header(kType, 0, 8);
  CHECK_FALSE(header.Finish().ok());

  MessageBuilder raw(kType, 0, 20);
  raw.PutRaw(std::vector<uint8_t>(5));
  CHECK_FALSE(raw.Finish().ok());

  MessageBuilder nest(kType, 0, 18);
  nest.EndNest(nest.BeginNest(1));
  CHECK_FALSE(nest.Finish().ok());
}

TEST_CASE("netlink_message: attributes refuse another size",
          "[netlink_message]") {
  const uint8_t bytes[] = {1, 2, 3};
  const Attribute attribute{7, bytes};
  CHECK(Message(attribute.U32().status()) ==
        "netlink attribute 7 has 3 bytes instead of 4");
  CHECK_FALSE(attribute.U8().ok());
  CHECK_FALSE(attribute.Be16().ok());
  CHECK_FALSE(attribute.U64().ok());
  CHECK(Message(attribute.Address().status()) ==
        "netlink attribute 7 has 3 bytes, which is no IP address");
}

TEST_CASE("netlink_message: a string ends at its first 0 or at the end",
          "[netlink_message]") {
  const uint8_t with_zero[] = {'l', 'o', 0, 'x'};
  CHECK(Attribute{1, with_zero}.String() == "lo");
  CHECK(Attribute{1, std::span(with_zero).first(2)}.String() == "lo");
  CHECK(Attribute{1, {}}.String().empty());
}

TEST_CASE("netlink_message: is never read past a cut at any byte",
          "[netlink_message]") {
  MessageBuilder message(kType, 0);
  message.PutU32(1, 0x11111111);
  const size_t nest = message.BeginNest(2);
  message.PutString(3, "edged0");
  message.EndNest(nest);
  const auto whole = Finished(message);
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own, so that a sanitizer sees a read past the end.
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + size);
    INFO("cut at " << size);
    const std::string text = Messages(cut);
    CHECK((size == 0) == (text.find("claims") == std::string::npos));

    // The same with an outer length that fits the cut: now the attributes lie.
    if (size < NLMSG_HDRLEN) continue;
    auto lying = cut;
    const auto length = static_cast<uint32_t>(size);
    std::memcpy(lying.data(), &length, sizeof length);
    std::string expected = "[100 0x1 0 0] ";
    if (size >= 24) expected += "1:11111111 ";
    // The last attribute may lack its padding, nothing else may be missing.
    const bool at_border = size == 16 || size == 24;
    const std::string read = Messages(lying);
    CHECK(read.substr(0, expected.size()) == expected);
    CHECK((read == expected) == at_border);
  }
}

TEST_CASE("netlink_message: reads several messages of one datagram",
          "[netlink_message]") {
  MessageBuilder first(kType, 0);
  first.PutU8(1, 1);
  MessageBuilder second(kType + 1, NLM_F_MULTI);
  auto bytes = Finished(first);
  const auto more = Finished(second);
  bytes.insert(bytes.end(), more.begin(), more.end());
  CHECK(Messages(bytes) == "[100 0x1 0 0] 1:01 [101 0x3 0 0] ");
}

TEST_CASE("netlink_message: a header cut short is named", "[netlink_message]") {
  const uint8_t payload[3] = {};
  const MessageView message{kType, 0, 0, 0, payload};
  CHECK(Message(message.HeaderAs<uint32_t>().status()) ==
        "netlink message 100 has 3 bytes instead of 4");
  CHECK(message.AttributesAfter(4).empty());
}

// An acknowledgement as the kernel writes it, with a request of 24 bytes.
std::vector<uint8_t> Refusal(uint16_t flags, bool echo, int error) {
  MessageBuilder message(NLMSG_ERROR, flags);
  nlmsgerr refused{-error, {24, kType, NLM_F_REQUEST, 5, 6}};
  message.PutHeader(refused);
  if (echo) message.PutRaw(std::vector<uint8_t>(8, 0xee));
  message.PutString(NLMSGERR_ATTR_MSG, "Device does not exist");
  message.PutU32(NLMSGERR_ATTR_OFFS, 20);
  return Finished(message);
}

std::string AckText(std::span<const uint8_t> bytes) {
  std::string text;
  const absl::Status status =
      ForEachMessage(bytes, [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(const KernelError error, ReadAck(message));
        text = fmt::format("{} \"{}\" at {}", error.error, error.text,
                           error.offset);
        return absl::OkStatus();
      });
  return status.ok() ? text : std::string(Message(status));
}

TEST_CASE("kernel_error: reads the extended ack, capped or not",
          "[kernel_error]") {
  const std::string expected = "19 \"Device does not exist\" at 20";
  CHECK(AckText(Refusal(NLM_F_ACK_TLVS, true, ENODEV)) == expected);
  CHECK(AckText(Refusal(NLM_F_ACK_TLVS | NLM_F_CAPPED, false, ENODEV)) ==
        expected);
  // Without the flag, what follows is not an extended ack.
  CHECK(AckText(Refusal(NLM_F_CAPPED, false, ENODEV)) == "19 \"\" at 0");
}

TEST_CASE("kernel_error: names a missing attribute when there is no text",
          "[kernel_error]") {
  MessageBuilder message(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED);
  message.PutHeader(nlmsgerr{-EINVAL, {24, kType, NLM_F_REQUEST, 5, 6}});
  message.PutU32(NLMSGERR_ATTR_MISS_TYPE, 3);
  CHECK(AckText(Finished(message)) == "22 \"attribute 3 is missing\" at 0");
}

TEST_CASE("kernel_error: reads the end of a dump", "[kernel_error]") {
  MessageBuilder done(NLMSG_DONE, NLM_F_MULTI | NLM_F_ACK_TLVS);
  done.PutHeader(int32_t{-EINVAL});
  done.PutString(NLMSGERR_ATTR_MSG, "Invalid table");
  CHECK(AckText(Finished(done)) == "22 \"Invalid table\" at 0");
}

TEST_CASE("kernel_error: refuses an error that is no errno", "[kernel_error]") {
  MessageBuilder message(NLMSG_ERROR, NLM_F_CAPPED);
  message.PutHeader(nlmsgerr{std::numeric_limits<int>::min()});
  CHECK(AckText(Finished(message)) ==
        "netlink acknowledgement of error -2147483648");
}

TEST_CASE("kernel_error: an ack cut at any byte is refused or complete",
          "[kernel_error]") {
  const auto whole = Refusal(NLM_F_ACK_TLVS | NLM_F_CAPPED, false, ENODEV);
  const size_t text = NLMSG_HDRLEN + sizeof(nlmsgerr);
  const size_t offset = whole.size() - 8;
  for (size_t size = NLMSG_HDRLEN; size < whole.size(); ++size) {
    std::vector<uint8_t> cut(whole.begin(), whole.begin() + size);
    const auto length = static_cast<uint32_t>(size);
    std::memcpy(cut.data(), &length, sizeof length);
    INFO("cut at " << size);
    std::string expected = "claims";
    if (size < text) expected = "instead of";
    if (size == text) expected = "19 \"\" at 0";
    // Two bytes of padding stand before the last attribute.
    if (size >= offset - 2 && size <= offset) {
      expected = "19 \"Device does not exist\" at 0";
    }
    CHECK_THAT(AckText(cut), Catch::Contains(expected));
  }
}

TEST_CASE("kernel_error: travels inside a status", "[kernel_error]") {
  const KernelError error{EEXIST, "Address already assigned", 24, 77};
  const absl::Status status =
      Annotate(KernelErrorStatus(error, "add address 10.0.0.1/32 to edged0"),
               "apply routes");
  CHECK(status.code() == absl::StatusCode::kAlreadyExists);
  CHECK(Message(status) ==
        "apply routes: add address 10.0.0.1/32 to edged0: File exists "
        "(Address already assigned)");
  CHECK(KernelErrorOf(status) == error);
  CHECK(KernelErrorOf(absl::InternalError("other")) == std::nullopt);
  CHECK(Message(KernelErrorStatus({EPERM, "", 0, 0}, "x")) ==
        "x: Operation not permitted");
}

}  // namespace
}  // namespace edged::netlink
