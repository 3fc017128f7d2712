#include <linux/genetlink.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "common/netlink/genetlink.h"
#include "common/netlink/rtnetlink.h"
#include "common/netlink/socket.h"
#include "common/status.h"
#include "tests/common/netlink/own_namespace.h"

namespace edged::netlink {
namespace {

using std::chrono::milliseconds;

Socket OpenRoute() {
  auto socket = Socket::Open(NETLINK_ROUTE);
  REQUIRE(socket.ok());
  return *std::move(socket);
}

MessageBuilder LoopbackRequest(uint16_t flags = 0) {
  MessageBuilder message(RTM_GETLINK, flags);
  message.PutHeader(ifinfomsg{.ifi_index = 1});
  return message;
}

TEST_CASE("socket: a refusal carries errno, text and offset", "[socket]") {
  OwnNamespace own;
  if (!own) return;
  Socket socket = OpenRoute();
  MessageBuilder message(RTM_SETLINK, 0);
  message.PutHeader(ifinfomsg{.ifi_index = 1});
  message.PutString(IFLA_IFALIAS, "x");
  const size_t offset = message.size();
  message.PutU16(IFLA_MTU, 1500);  // must have 4 bytes
  const absl::Status status = socket.Transact(message, "set mtu of lo");
  const auto error = KernelErrorOf(status);
  REQUIRE(error.has_value());
  CHECK(error->error == ERANGE);
  CHECK(error->offset == offset);
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(Message(status) == fmt::format("set mtu of lo: {} ({})",
                                       std::strerror(ERANGE), error->text));
  CHECK_FALSE(error->text.empty());
}

TEST_CASE("socket: answers of an earlier request are skipped", "[socket]") {
  OwnNamespace own;
  if (!own) return;
  Socket socket = OpenRoute();
  // Nobody waits for this one's refusal, as after a timeout.
  MessageBuilder stale(RTM_DELLINK, NLM_F_ACK);
  stale.PutHeader(ifinfomsg{.ifi_index = 12345});
  REQUIRE(socket.Send(*stale.Finish()).ok());

  MessageBuilder request = LoopbackRequest();
  int answers = 0;
  const absl::Status status =
      socket.Request(request, "link lo", [&](const MessageView& answer) {
        CHECK(answer.type == RTM_NEWLINK);
        ++answers;
        return absl::OkStatus();
      });
  CHECK(status.ok());
  CHECK(answers == 1);
}

TEST_CASE("socket: a wait ends at its deadline", "[socket]") {
  Socket socket = OpenRoute();
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = socket.Receive(
      milliseconds(30), [](const MessageView&) { return absl::OkStatus(); });
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(Message(status) == "netlink: nothing came in time");
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(KernelErrorOf(status).has_value());
  CHECK(took >= milliseconds(30));
  CHECK(took < std::chrono::seconds(3));
}

TEST_CASE("socket: a consumer's error ends the request, not the socket",
          "[socket]") {
  OwnNamespace own;
  if (!own) return;
  Socket socket = OpenRoute();
  MessageBuilder dump(RTM_GETLINK, 0);
  dump.PutHeader(ifinfomsg{});
  const absl::Status status = socket.Dump(
      dump, "list links", [] {},
      [](const MessageView&) { return absl::DataLossError("cannot read it"); });
  CHECK(Message(status) == "list links: cannot read it");
  MessageBuilder request = LoopbackRequest();
  CHECK(socket.Transact(request, "link lo").ok());
}

TEST_CASE("socket: one datagram may be larger than the default send buffer",
          "[socket]") {
  OwnNamespace own;
  if (!own) return;
  Socket socket = OpenRoute();
  std::vector<uint8_t> bytes;
  nlmsghdr idle{NLMSG_HDRLEN, NLMSG_NOOP, NLM_F_REQUEST, 0, 0};
  const auto append = [&bytes](const nlmsghdr& header) {
    const auto* begin = reinterpret_cast<const uint8_t*>(&header);
    bytes.insert(bytes.end(), begin, begin + sizeof header);
  };
  while (bytes.size() < 3'000'000) append(idle);
  idle.nlmsg_flags |= NLM_F_ACK;
  idle.nlmsg_seq = 4711;
  append(idle);
  REQUIRE(socket.Send(bytes).ok());

  std::string acks;
  const absl::Status status = socket.Receive(
      milliseconds(5000), [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(const KernelError ack, ReadAck(message));
        acks += fmt::format("{}: {} ", ack.sequence, ack.error);
        return absl::OkStatus();
      });
  CHECK(status.ok());
  CHECK(acks == "4711: 0 ");
}

// A loopback with enough addresses that listing them takes several datagrams.
void AddManyAddresses(Rtnetlink& rtnetlink, int count) {
  for (int i = 0; i < count; ++i) {
    const Address address{.link = 1,
                          .address = IpAddress::FromIpv4(0x0a000001).Plus(i),
                          .prefix_length = 32};
    REQUIRE(rtnetlink.AddAddress(address).ok());
  }
}

// Lists addresses and changes one after the first answer of each of the first
// `disturbed` tries. Returns the tries and what came out.
std::string DisturbedDump(int disturbed) {
  Socket socket = OpenRoute();
  auto other = Rtnetlink::Open();
  REQUIRE(other.ok());
  AddManyAddresses(*other, 2000);
  int tries = 0;
  int answers = 0;
  MessageBuilder request(RTM_GETADDR, 0);
  request.PutHeader(ifaddrmsg{.ifa_family = AF_INET});
  const absl::Status status = socket.Dump(
      request, "list addresses",
      [&] {
        ++tries;
        answers = 0;
      },
      [&](const MessageView&) {
        if (answers++ == 0 && tries <= disturbed) {
          return other->AddAddress(
              {.link = 1,
               .address = IpAddress::FromIpv4(0x0b000000).Plus(tries),
               .prefix_length = 32});
        }
        return absl::OkStatus();
      });
  if (!status.ok()) return fmt::format("{} tries: {}", tries, Message(status));
  return fmt::format("{} tries: {} addresses", tries, answers);
}

TEST_CASE("socket: an interrupted dump begins again", "[socket]") {
  OwnNamespace own;
  if (!own) return;
  CHECK(DisturbedDump(1) == "2 tries: 2001 addresses");
}

TEST_CASE("socket: a dump gives up after three interruptions", "[socket]") {
  OwnNamespace own;
  if (!own) return;
  CHECK(DisturbedDump(1000) ==
        "3 tries: list addresses: interrupted by changes in each of 3 tries");
}

TEST_CASE("socket: lost events are Unavailable with ENOBUFS", "[socket]") {
  OwnNamespace own;
  if (!own) return;
  Socket socket = OpenRoute();
  const int small = 4096;
  REQUIRE(::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVBUF, &small,
                       sizeof small) == 0);
  REQUIRE(socket.Join(RTNLGRP_IPV4_IFADDR).ok());
  auto rtnetlink = Rtnetlink::Open();
  REQUIRE(rtnetlink.ok());
  AddManyAddresses(*rtnetlink, 100);
  absl::Status status;
  const auto ignore = [](const MessageView&) { return absl::OkStatus(); };
  int reads = 0;
  while (status.ok() && reads < 200) {
    status = socket.Receive(milliseconds(0), ignore);
    ++reads;
  }
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  const auto error = KernelErrorOf(status);
  REQUIRE(error.has_value());
  CHECK(error->error == ENOBUFS);
  // The socket goes on working: the kernel would drop the answer of a full one.
  MessageBuilder request = LoopbackRequest();
  CHECK(socket.Transact(request, "link lo").ok());
}

TEST_CASE("genetlink: resolves a family that every kernel has", "[genetlink]") {
  auto family = GenericFamily::Open("nlctrl", 1);
  REQUIRE(family.ok());
  CHECK(family->id() == GENL_ID_CTRL);
  MessageBuilder request = family->Request(CTRL_CMD_GETFAMILY, 0);
  request.PutU16(CTRL_ATTR_FAMILY_ID, GENL_ID_CTRL);
  std::string name;
  const absl::Status status = family->socket().Request(
      request, "family 16", [&name](const MessageView& answer) {
        return ForEachAttribute(answer.AttributesAfter(GENL_HDRLEN),
                                [&name](const Attribute& attribute) {
                                  if (attribute.type == CTRL_ATTR_FAMILY_NAME) {
                                    name = attribute.String();
                                  }
                                  return absl::OkStatus();
                                });
      });
  CHECK(status.ok());
  CHECK(name == "nlctrl");
}

TEST_CASE("genetlink: a family that is not there is NotFound", "[genetlink]") {
  const auto family = GenericFamily::Open("edged-none", 1);
  CHECK(absl::IsNotFound(family.status()));
  CHECK_THAT(std::string(Message(family.status())),
             Catch::StartsWith("generic netlink family edged-none: "
                               "No such file or directory"));
}

}  // namespace
}  // namespace edged::netlink
