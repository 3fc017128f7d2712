#include "common/record_proto/record_proto.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>

#include "common/status.h"
#include "tests/common/protocol/random_state.h"

namespace edged::record_proto {
namespace {

constexpr char kKey[] = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

// The refusal's text, or "accepted".
template <typename Proto>
std::string Refusal(const Proto& proto) {
  const absl::Status status = FromProto(proto).status();
  if (status.ok()) return "accepted";
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(status));
}

v1::Listener Listener(uint32_t first, uint32_t last = 0) {
  v1::Listener proto;
  proto.set_public_address("203.0.113.1");
  proto.set_protocol(v1::PROTOCOL_TCP);
  proto.set_first_port(first);
  proto.set_last_port(last);
  return proto;
}

v1::Uplink Uplink() {
  v1::Uplink proto;
  proto.set_name("a");
  proto.set_public_key(kKey);
  proto.set_block(1);
  return proto;
}

v1::Group Group() {
  v1::Group proto;
  proto.set_name("g1");
  proto.set_public_address("203.0.113.1");
  return proto;
}

v1::Settings Interval(int64_t seconds, int32_t nanos = 0) {
  v1::Settings proto;
  proto.mutable_heartbeat_interval()->set_seconds(seconds);
  proto.mutable_heartbeat_interval()->set_nanos(nanos);
  return proto;
}

TEST_CASE("record_proto: every record survives the way there and back",
          "[record_proto]") {
  protocol::RandomStates states(20240607);
  const auto there_and_back = [](const auto& record) {
    const auto proto = ToProto(record);
    std::decay_t<decltype(proto)> received;
    REQUIRE(received.ParseFromString(proto.SerializeAsString()));
    const auto back = FromProto(received);
    INFO(received.ShortDebugString());
    REQUIRE(back.status() == absl::OkStatus());
    CHECK(*back == record);
  };
  for (int i = 0; i < 50; ++i) {
    const protocol::EdgeState state = states.Next();
    there_and_back(state.settings);
    for (const auto& uplink : state.uplinks) there_and_back(uplink);
    for (const auto& group : state.groups) there_and_back(group);
    for (const auto& mapping : state.mappings) {
      there_and_back(mapping);
      there_and_back(mapping.listener);
    }
    const protocol::Digest digest = protocol::DigestOf(state);
    CHECK(*DigestFromProto(ToProto(digest)) == digest);
  }
}

TEST_CASE("record_proto: a port is 1 to 65535", "[record_proto]") {
  CHECK(FromProto(Listener(1))->ToString() == "203.0.113.1 tcp/1");
  CHECK(FromProto(Listener(65535))->ToString() == "203.0.113.1 tcp/65535");
  CHECK(Refusal(Listener(0)) ==
        "listener 203.0.113.1 first_port: 0 is not 1 to 65535");
  CHECK(Refusal(Listener(65536)) ==
        "listener 203.0.113.1 first_port: 65536 is not 1 to 65535");
  CHECK(Refusal(Listener(std::numeric_limits<uint32_t>::max())) ==
        "listener 203.0.113.1 first_port: 4294967295 is not 1 to 65535");
}

TEST_CASE("record_proto: a range begins before it ends", "[record_proto]") {
  CHECK(FromProto(Listener(80, 80))->ports.is_single());
  CHECK(FromProto(Listener(1, 65535))->ToString() == "203.0.113.1 tcp/1-65535");
  CHECK(Refusal(Listener(80, 79)) ==
        "listener 203.0.113.1 last_port: 79 is not 80 to 65535");
  CHECK(Refusal(Listener(80, 65536)) ==
        "listener 203.0.113.1 last_port: 65536 is not 80 to 65535");
  CHECK(Refusal(Listener(0, 80)) ==
        "listener 203.0.113.1 first_port: 0 is not 1 to 65535");
}

TEST_CASE("record_proto: a listener's protocol is TCP or UDP",
          "[record_proto]") {
  v1::Listener proto = Listener(53);
  proto.set_protocol(v1::PROTOCOL_UDP);
  CHECK(FromProto(proto)->ToString() == "203.0.113.1 udp/53");
  proto.set_protocol(v1::PROTOCOL_UNSPECIFIED);
  CHECK(Refusal(proto) == "listener 203.0.113.1 protocol: 0 is not TCP or UDP");
  proto.set_protocol(static_cast<v1::Protocol>(132));
  CHECK(Refusal(proto) ==
        "listener 203.0.113.1 protocol: 132 is not TCP or UDP");
}

TEST_CASE("record_proto: a listener's address is an address",
          "[record_proto]") {
  for (const char* text : {"", "foo", "10.0.0.0/8", "1.2.3", "01.2.3.4"}) {
    v1::Listener proto = Listener(80);
    proto.set_public_address(text);
    CHECK(Refusal(proto) == fmt::format("listener public_address: \"{}\" is "
                                        "not an IP address",
                                        text));
  }
  v1::Listener proto = Listener(80);
  proto.set_public_address("2001:db8::1");
  CHECK(FromProto(proto)->ToString() == "2001:db8::1 tcp/80");
}

TEST_CASE("record_proto: a mapping names a listener and a group",
          "[record_proto]") {
  v1::Mapping proto;
  *proto.mutable_listener() = Listener(80);
  CHECK(Refusal(proto) == "mapping 203.0.113.1 tcp/80 group: is empty");
  proto.set_group("g1");
  CHECK(Refusal(proto) == "accepted");
  proto.clear_listener();
  CHECK(Refusal(proto) == "listener public_address: \"\" is not an IP address");
}

TEST_CASE("record_proto: an uplink has a name and a whole key",
          "[record_proto]") {
  CHECK(Refusal(Uplink()) == "accepted");
  v1::Uplink proto = Uplink();
  proto.clear_name();
  CHECK(Refusal(proto) == "uplink name: is empty");
  for (const char* key :
       {"", "AQEB", "not base64 not base64 not base64 not base64!",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"}) {
    proto = Uplink();
    proto.set_public_key(key);
    CHECK(Refusal(proto) == fmt::format("uplink a public_key: \"{}\" is not a "
                                        "public key (base64 of 32 bytes)",
                                        key));
  }
}

TEST_CASE("record_proto: a group has a name, an address and a known affinity",
          "[record_proto]") {
  CHECK(Refusal(Group()) == "accepted");
  v1::Group proto = Group();
  proto.clear_name();
  CHECK(Refusal(proto) == "group name: is empty");
  proto = Group();
  proto.set_public_address("foo");
  CHECK(Refusal(proto) ==
        "group g1 public_address: \"foo\" is not an IP address");
  proto = Group();
  proto.set_affinity(static_cast<v1::Affinity>(7));
  CHECK(Refusal(proto) == "group g1 affinity: 7 is not known");
}

TEST_CASE("record_proto: a group names no more uplinks than an edge has",
          "[record_proto]") {
  v1::Group proto = Group();
  for (int i = 0; i < 63; ++i) proto.add_uplinks(fmt::format("u{}", i));
  CHECK(Refusal(proto) == "accepted");
  proto.add_uplinks("");
  CHECK(Refusal(proto) ==
        "group g1 uplinks: 64 names, but an edge has at most 63");
}

TEST_CASE("record_proto: a group's timeouts are whole seconds up to 24 days",
          "[record_proto]") {
  const auto idle = [](int64_t seconds, int32_t nanos = 0) {
    v1::Group proto = Group();
    proto.mutable_tcp_idle_timeout()->set_seconds(seconds);
    proto.mutable_tcp_idle_timeout()->set_nanos(nanos);
    return proto;
  };
  CHECK(FromProto(idle(3600))->timeouts.tcp_idle == std::chrono::hours(1));
  CHECK(Refusal(idle(2'073'600)) == "accepted");
  const std::string end = " ns are not whole seconds of 1 to 2073600";
  const std::string field = "group g1 tcp_idle_timeout: ";
  CHECK(Refusal(idle(0)) == field + "0 s and 0" + end);
  CHECK(Refusal(idle(-1)) == field + "-1 s and 0" + end);
  CHECK(Refusal(idle(1, 500)) == field + "1 s and 500" + end);
  CHECK(Refusal(idle(2'073'601)) == field + "2073601 s and 0" + end);
  CHECK(Refusal(idle(INT64_MAX)) != "accepted");
  v1::Group udp = Group();
  udp.mutable_udp_session_timeout()->set_seconds(30);
  CHECK(FromProto(udp)->timeouts.udp_session == std::chrono::seconds(30));
  udp.mutable_udp_session_timeout()->set_nanos(1);
  CHECK(Refusal(udp) == "group g1 udp_session_timeout: 30 s and 1" + end);
}

TEST_CASE("record_proto: a group's clients are prefixes", "[record_proto]") {
  v1::Group proto = Group();
  for (const char* text : {"198.51.100.0/24", "10.0.0.0/8", "10.0.0.0/8"}) {
    proto.add_allowed(text);
  }
  proto.add_denied("2001:db8::/32");
  const auto group = FromProto(proto);
  REQUIRE(group.ok());
  CHECK(group->access.ToString() ==
        "10.0.0.0/8 198.51.100.0/24 not 2001:db8::/32");
  CHECK(*FromProto(ToProto(*group)) == *group);
  proto.add_denied("10.0.0.1/8");
  CHECK(Refusal(proto) ==
        "group g1 denied: \"10.0.0.1/8\" has host bits set: 10.0.0.0/8 was "
        "meant?");
  proto = Group();
  for (int i = 0; i < 1'025; ++i) proto.add_allowed("10.0.0.0/8");
  CHECK(Refusal(proto) ==
        "group g1 allowed: has 1025 prefixes, more than 1024");
}

TEST_CASE("record_proto: what must be sorted is sorted on arrival",
          "[record_proto]") {
  v1::Group group = Group();
  for (const char* name : {"c", "a", "b"}) group.add_uplinks(name);
  CHECK(FromProto(group)->uplinks == std::vector<std::string>{"a", "b", "c"});

  v1::Settings settings;
  for (const char* address : {"203.0.113.2", "203.0.113.1"}) {
    settings.add_public_addresses()->set_address(address);
  }
  const auto parsed = FromProto(settings);
  REQUIRE(parsed.ok());
  CHECK(parsed->public_addresses[0].address.ToString() == "203.0.113.1");
}

TEST_CASE("record_proto: empty settings are the defaults", "[record_proto]") {
  CHECK(*FromProto(v1::Settings()) == protocol::Settings());
}

TEST_CASE("record_proto: an IPv6 network is a prefix", "[record_proto]") {
  v1::Settings proto;
  proto.set_network6("fd00:ed::/64");
  CHECK(FromProto(proto)->network6->ToString() == "fd00:ed::/64");
  proto.set_network6("fd00:ed::1/64");
  CHECK(Refusal(proto).starts_with("settings network6: "));
}

TEST_CASE("record_proto: an MTU is auto or 576 to 65535", "[record_proto]") {
  for (const uint32_t mtu : {0u, 576u, 1420u, 65535u}) {
    v1::Settings proto;
    proto.set_mtu(mtu);
    CHECK(Refusal(proto) == "accepted");
  }
  for (const uint32_t mtu : {1u, 575u, 65536u, 4294967295u}) {
    v1::Settings proto;
    proto.set_mtu(mtu);
    CHECK(Refusal(proto) ==
          fmt::format("settings mtu: {} is neither 0 nor 576 to 65535", mtu));
  }
}

TEST_CASE("record_proto: a heartbeat interval is 50 ms to 1 min",
          "[record_proto]") {
  CHECK(FromProto(Interval(0, 50'000'000))->heartbeat_interval ==
        std::chrono::milliseconds(50));
  CHECK(FromProto(Interval(60))->heartbeat_interval == std::chrono::minutes(1));
  CHECK(Refusal(Interval(0)) ==
        "settings heartbeat_interval: 0 ms is not 50 ms to 1 min");
  CHECK(Refusal(Interval(0, 49'999'999)) ==
        "settings heartbeat_interval: 49 ms is not 50 ms to 1 min");
  CHECK(Refusal(Interval(60, 1'000'000)) ==
        "settings heartbeat_interval: 60001 ms is not 50 ms to 1 min");
  CHECK(Refusal(Interval(-1)) ==
        "settings heartbeat_interval: -1000 ms is not 50 ms to 1 min");
}

TEST_CASE("record_proto: an interval beyond all bounds does not wrap around",
          "[record_proto]") {
  // 2^64 ms and 384 ms more, and the extremes.
  for (const int64_t seconds :
       {int64_t{18446744073709552}, std::numeric_limits<int64_t>::max(),
        std::numeric_limits<int64_t>::min()}) {
    CHECK_THAT(Refusal(Interval(seconds)),
               Catch::EndsWith("ms is not 50 ms to 1 min"));
  }
}

TEST_CASE("record_proto: a threshold is at most 100", "[record_proto]") {
  v1::Settings proto;
  proto.set_unhealthy_threshold(100);
  CHECK(FromProto(proto)->unhealthy_threshold == 100);
  proto.set_unhealthy_threshold(101);
  CHECK(Refusal(proto) == "settings unhealthy_threshold: 101 is above 100");
}

TEST_CASE("record_proto: a public address is refused by its own name",
          "[record_proto]") {
  v1::Settings proto;
  v1::PublicAddress& address = *proto.add_public_addresses();
  address.set_address("vps.example.com");
  CHECK(Refusal(proto) ==
        "public address address: \"vps.example.com\" is not an IP address");
  address.set_address("203.0.113.1");
  address.set_nic_address("10.0.0.7/24");
  CHECK(Refusal(proto) ==
        "public address 203.0.113.1 nic_address: "
        "\"10.0.0.7/24\" is not an IP address");
}

TEST_CASE("record_proto: a digest has 32 bytes or none", "[record_proto]") {
  CHECK(*DigestFromProto("") == protocol::Digest());
  CHECK(DigestFromProto(std::string(32, '\x07')).ok());
  for (const size_t size : {1u, 31u, 33u, 64u}) {
    CHECK(DigestFromProto(std::string(size, 'x')).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace edged::record_proto
