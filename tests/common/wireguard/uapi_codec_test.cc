#include "common/wireguard/uapi_codec.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/status.h"
#include "tests/common/wireguard/devices.h"

namespace edged::wireguard {
namespace {

const std::string kHex40(
    "4040404040404040404040404040404040404040404040404040404040404040");
const std::string kHex01(
    "0101010101010101010101010101010101010101010101010101010101010101");
const std::string kHex02(
    "0202020202020202020202020202020202020202020202020202020202020202");
const std::string kHex03(
    "0303030303030303030303030303030303030303030303030303030303030303");

// FullDevice() as wireguard-go prints it: peers and prefixes in no order.
const std::string kFullReply =
    "private_key=" + kHex40 + "\nlisten_port=51820\nfwmark=237\n" +
    "public_key=" + kHex02 + "\npreshared_key=" + kHex40 +
    "\nprotocol_version=1\nendpoint=[2001:db8::1]:51821\n"
    "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
    "tx_bytes=0\nrx_bytes=0\npersistent_keepalive_interval=0\n"
    "allowed_ip=::/0\nallowed_ip=0.0.0.0/0\n" +
    "public_key=" + kHex01 +
    "\nprotocol_version=1\nendpoint=192.0.2.7:1024\n"
    "last_handshake_time_sec=1700000000\n"
    "last_handshake_time_nsec=123456789\n"
    "tx_bytes=7\nrx_bytes=5000000000\npersistent_keepalive_interval=25\n"
    "allowed_ip=10.200.0.16/28\nallowed_ip=fd00::10/124\n" +
    "public_key=" + kHex03 + "\nerrno=0\n\n";

std::string Set(const DeviceChange& change) {
  return std::string(std::string_view(EncodeUapiSet(change)));
}

std::string GetError(std::string_view reply) {
  const auto device = DecodeUapiGetReply(reply, "edged0");
  return device.ok() ? "OK" : std::string(Message(device.status()));
}

TEST_CASE("uapi_codec: reads every field of a device", "[uapi_codec]") {
  const auto device = DecodeUapiGetReply(kFullReply, "edged0");
  REQUIRE(device.ok());
  CHECK(*device == FullDevice());
}

TEST_CASE("uapi_codec: a device that was just made has a port and no key",
          "[uapi_codec]") {
  const auto device =
      DecodeUapiGetReply("listen_port=40001\nerrno=0\n\n", "edged0");
  REQUIRE(device.ok());
  CHECK(*device == Device{.name = "edged0", .listen_port = 40001});
}

TEST_CASE("uapi_codec: a reply cut at any byte is refused", "[uapi_codec]") {
  for (size_t size = 0; size < kFullReply.size(); ++size) {
    INFO(size);
    const auto device =
        DecodeUapiGetReply(kFullReply.substr(0, size), "edged0");
    CHECK(absl::IsInvalidArgument(device.status()));
  }
}

TEST_CASE("uapi_codec: a changed byte is refused or read, never worse",
          "[uapi_codec]") {
  for (size_t i = 0; i < kFullReply.size(); ++i) {
    for (const char c : {'\0', '\n', '=', '9', '\xff'}) {
      std::string reply = kFullReply;
      reply[i] = c;
      const auto device = DecodeUapiGetReply(reply, "edged0");
      if (device.ok()) CHECK(device->peers.size() <= 3);
    }
  }
}

TEST_CASE("uapi_codec: passes over keys it does not know", "[uapi_codec]") {
  CHECK(GetError("colour=blue\npublic_key=" + kHex01 +
                 "\ncolour=red\nerrno=0\n\n") == "OK");
}

TEST_CASE("uapi_codec: takes the zone off a link-local endpoint",
          "[uapi_codec]") {
  const auto device = DecodeUapiGetReply(
      "public_key=" + kHex01 + "\nendpoint=[fe80::1%eth0]:51820\nerrno=0\n\n",
      "edged0");
  REQUIRE(device.ok());
  CHECK(device->peers[0].endpoint == Endpoint("[fe80::1]:51820"));
}

TEST_CASE("uapi_codec: an endpoint with port 0 is none", "[uapi_codec]") {
  const auto device = DecodeUapiGetReply(
      "public_key=" + kHex01 + "\nendpoint=192.0.2.1:0\nerrno=0\n\n", "edged0");
  REQUIRE(device.ok());
  CHECK(!device->peers[0].endpoint);
}

TEST_CASE("uapi_codec: an error names the line and its peer", "[uapi_codec]") {
  CHECK(GetError("listen_port=70000\nerrno=0\n\n") ==
        "listen_port=70000 is not a number that fits");
  CHECK(GetError("fwmark=-1\nerrno=0\n\n") ==
        "fwmark=-1 is not a number that fits");
  CHECK(GetError("public_key=zz\nerrno=0\n\n") ==
        "public_key is not 64 hex digits");
  CHECK(GetError("public_key=" + kHex01 +
                 "\nallowed_ip=10.0.0.1/8\nerrno=0\n\n") ==
        "peer AQEBAQEB: \"10.0.0.1/8\" has host bits set: 10.0.0.0/8 was "
        "meant?");
  CHECK(GetError("public_key=" + kHex01 + "\nendpoint=nowhere\nerrno=0\n\n") ==
        "peer AQEBAQEB: \"nowhere\" is not ADDRESS:PORT");
  CHECK(GetError("listen_port 1\nerrno=0\n\n") ==
        "a line of the reply is not KEY=VALUE");
}

TEST_CASE("uapi_codec: no error repeats a private key", "[uapi_codec]") {
  const std::string almost = kHex40.substr(1);
  CHECK(GetError("private_key=" + almost + "\nerrno=0\n\n") ==
        "private_key is not 64 hex digits");
  CHECK(GetError("private_key=" + almost + "g\nerrno=0\n\n") ==
        "private_key is not 64 hex digits");
  CHECK(GetError(almost + "\nerrno=0\n\n") ==
        "a line of the reply is not KEY=VALUE");
}

TEST_CASE("uapi_codec: an errno becomes a status", "[uapi_codec]") {
  CHECK(DecodeUapiSetReply("errno=0\n\n").ok());
  const absl::Status in_use = DecodeUapiSetReply("errno=-98\n\n");
  CHECK(absl::IsFailedPrecondition(in_use));
  CHECK(Message(in_use) ==
        "wireguard-go refused the request: Address already in use");
  CHECK(absl::IsInvalidArgument(
      DecodeUapiGetReply("errno=-22\n\n", "edged0").status()));
  for (const std::string_view bad :
       {"", "\n", "errno=0", "errno=0\n", "errno=x\n\n", "errno=0\n\n\n",
        "errno=99999999999\n\n"}) {
    INFO(bad);
    CHECK(absl::IsInvalidArgument(DecodeUapiSetReply(bad)));
  }
}

TEST_CASE("uapi_codec: writes a new device", "[uapi_codec]") {
  CHECK(Set(Diff({}, FullDevice())) ==
        "set=1\n"
        "private_key=" +
            kHex40 +
            "\n"
            "listen_port=51820\n"
            "fwmark=237\n"
            "public_key=" +
            kHex01 +
            "\n"
            "endpoint=192.0.2.7:1024\n"
            "persistent_keepalive_interval=25\n"
            "replace_allowed_ips=true\n"
            "allowed_ip=10.200.0.16/28\n"
            "allowed_ip=fd00::10/124\n"
            "public_key=" +
            kHex02 +
            "\n"
            "endpoint=[2001:db8::1]:51821\n"
            "persistent_keepalive_interval=0\n"
            "replace_allowed_ips=true\n"
            "allowed_ip=0.0.0.0/0\n"
            "allowed_ip=::/0\n"
            "public_key=" +
            kHex03 +
            "\n"
            "persistent_keepalive_interval=0\n"
            "replace_allowed_ips=true\n"
            "\n");
}

TEST_CASE("uapi_codec: a change touches only what it names", "[uapi_codec]") {
  CHECK(Set({}) == "set=1\n\n");
  CHECK(
      Set({.removed_peers = {Key(1)},
           .changed_peers = {{.key = Key(2), .keepalive_seconds = 25},
                             {.key = Key(3), .allowed_ips = Prefixes({})}}}) ==
      "set=1\n"
      "public_key=" +
          kHex01 +
          "\n"
          "remove=true\n"
          "public_key=" +
          kHex02 +
          "\n"
          "update_only=true\n"
          "persistent_keepalive_interval=25\n"
          "public_key=" +
          kHex03 +
          "\n"
          "update_only=true\n"
          "replace_allowed_ips=true\n"
          "\n");
}

}  // namespace
}  // namespace edged::wireguard
