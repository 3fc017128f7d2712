#include "edged/service/edge_proto.h"

#include <catch2/catch.hpp>

#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "common/version.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

v1::Mapping Map(uint32_t port, const std::string& group = "g1") {
  v1::Mapping proto;
  proto.mutable_listener()->set_public_address("203.0.113.1");
  proto.mutable_listener()->set_protocol(v1::PROTOCOL_TCP);
  proto.mutable_listener()->set_first_port(port);
  proto.set_group(group);
  return proto;
}

v1::SnapshotChunk Chunk(uint64_t version,
                        const std::vector<uint32_t>& ports = {}) {
  v1::SnapshotChunk chunk;
  chunk.set_version(version);
  for (const uint32_t port : ports) *chunk.add_mappings() = Map(port);
  return chunk;
}

v1::SnapshotChunk Last(v1::SnapshotChunk chunk) {
  chunk.set_last(true);
  return chunk;
}

v1::SnapshotChunk Spoilt(v1::SnapshotChunk chunk) {
  chunk.add_groups();  // without a name
  return chunk;
}

// "more", "whole" or the refusal.
std::string Add(SnapshotAssembler& assembler, const v1::SnapshotChunk& chunk) {
  const auto last = assembler.Add(chunk);
  if (!last.ok()) return std::string(Message(last.status()));
  return *last ? "whole" : "more";
}

std::string ListenersOf(const DecodedChange& change) {
  std::string text;
  for (const auto& mapping :
       std::get<SnapshotCall>(change.call).state.mappings) {
    text += mapping.listener.ToString() + "; ";
  }
  return text;
}

TEST_CASE("edge_proto: a snapshot is gathered from its chunks and sorted",
          "[edge_proto]") {
  protocol::EdgeState state = SampleState();
  state.mappings = {{Tcp(80), "g1"}, {Tcp(443), "g1"}, {Udp(53), "g1"}};
  const auto mapping = [&state](size_t i) {
    return record_proto::ToProto(state.mappings[i]);
  };
  SnapshotAssembler assembler;
  v1::SnapshotChunk first = Chunk(7);
  *first.add_mappings() = mapping(2);
  *first.add_groups() = record_proto::ToProto(state.groups[1]);
  *first.add_uplinks() = record_proto::ToProto(state.uplinks[2]);
  v1::SnapshotChunk second = Chunk(7);
  *second.mutable_settings() = record_proto::ToProto(state.settings);
  *second.add_mappings() = mapping(0);
  *second.add_groups() = record_proto::ToProto(state.groups[0]);
  v1::SnapshotChunk third = Last(Chunk(7));
  *third.add_uplinks() = record_proto::ToProto(state.uplinks[1]);
  *third.add_uplinks() = record_proto::ToProto(state.uplinks[0]);
  *third.add_mappings() = mapping(1);
  CHECK(Add(assembler, first) == "more");
  CHECK(Add(assembler, second) == "more");
  CHECK(Add(assembler, third) == "whole");

  const DecodedChange change = assembler.Take();
  CHECK(change.malformed.empty());
  CHECK(std::get<SnapshotCall>(change.call).version == 7);
  CHECK(std::get<SnapshotCall>(change.call).state == state);
}

TEST_CASE("edge_proto: nothing of one snapshot is left in the next",
          "[edge_proto]") {
  SnapshotAssembler assembler;
  CHECK(Add(assembler, Last(Chunk(1, {80, 70000}))) == "whole");
  CHECK(assembler.Take().malformed.size() == 1);
  CHECK(Add(assembler, Last(Chunk(2, {443}))) == "whole");
  const DecodedChange change = assembler.Take();
  CHECK(ListenersOf(change) == "203.0.113.1 tcp/443; ");
  CHECK(change.malformed.empty());
}

TEST_CASE("edge_proto: an empty snapshot is one", "[edge_proto]") {
  SnapshotAssembler assembler;
  CHECK(Add(assembler, Last(Chunk(1))) == "whole");
  CHECK(std::get<SnapshotCall>(assembler.Take().call).state ==
        protocol::EdgeState());
}

TEST_CASE("edge_proto: a malformed mapping is refused alone, as it was sent",
          "[edge_proto]") {
  SnapshotAssembler assembler;
  CHECK(Add(assembler, Chunk(1, {80, 70000})) == "more");
  CHECK(Add(assembler, Last(Chunk(1, {0, 443}))) == "whole");
  const DecodedChange change = assembler.Take();
  CHECK(ListenersOf(change) == "203.0.113.1 tcp/80; 203.0.113.1 tcp/443; ");
  REQUIRE(change.malformed.size() == 2);
  CHECK(change.malformed[0].listener().first_port() == 70000);
  CHECK(change.malformed[0].reason() == "InvalidMapping");
  CHECK(change.malformed[0].message() ==
        "listener 203.0.113.1 first_port: 70000 is not 1 to 65535");
  CHECK(change.malformed[1].listener().first_port() == 0);
}

TEST_CASE("edge_proto: a snapshot with one bad chunk is refused whole",
          "[edge_proto]") {
  const std::string refusal = "group name: is empty";
  SnapshotAssembler assembler;
  SECTION("the first, so that the others are not taken for the whole") {
    CHECK(Add(assembler, Spoilt(Chunk(1, {80}))) == "more");
    CHECK(Add(assembler, Chunk(1, {443})) == "more");
    CHECK(Add(assembler, Last(Chunk(1, {8080}))) == refusal);
  }
  SECTION("one in between") {
    CHECK(Add(assembler, Chunk(1, {80})) == "more");
    CHECK(Add(assembler, Spoilt(Chunk(1, {443}))) == "more");
    CHECK(Add(assembler, Last(Chunk(1))) == refusal);
  }
  SECTION("the last") {
    CHECK(Add(assembler, Chunk(1, {80})) == "more");
    CHECK(Add(assembler, Spoilt(Last(Chunk(1)))) == refusal);
  }
  SECTION("two, of which the first is named") {
    v1::SnapshotChunk nameless = Chunk(1);
    nameless.add_uplinks();
    CHECK(Add(assembler, Spoilt(Chunk(1))) == "more");
    CHECK(Add(assembler, Last(nameless)) == refusal);
  }
  CHECK(Add(assembler, Last(Chunk(2, {22}))) == "whole");
  CHECK(ListenersOf(assembler.Take()) == "203.0.113.1 tcp/22; ");
}

TEST_CASE("edge_proto: chunks of two versions do not mix", "[edge_proto]") {
  SnapshotAssembler assembler;
  CHECK(Add(assembler, Chunk(5, {80})) == "more");
  CHECK(Add(assembler, Chunk(6, {443})) == "more");
  CHECK(Add(assembler, Last(Chunk(6, {8080}))) ==
        "snapshot version: 6 inside version 5");
  CHECK(Add(assembler, Last(Chunk(7, {22}))) == "whole");
  CHECK(ListenersOf(assembler.Take()) == "203.0.113.1 tcp/22; ");
}

TEST_CASE("edge_proto: version 0 mixes with no other", "[edge_proto]") {
  SnapshotAssembler assembler;
  CHECK(Add(assembler, Chunk(0, {80})) == "more");
  CHECK(Add(assembler, Last(Chunk(5, {443}))) ==
        "snapshot version: 5 inside version 0");
}

TEST_CASE("edge_proto: a snapshot has bounds", "[edge_proto]") {
  std::vector<uint32_t> ports(10'000);
  std::iota(ports.begin(), ports.end(), 1);
  const v1::SnapshotChunk chunk = Chunk(1, ports);
  SnapshotAssembler assembler;
  for (int i = 0; i < 33; ++i) REQUIRE(Add(assembler, chunk) == "more");
  CHECK(Add(assembler, chunk) == "more");
  CHECK(Add(assembler, Last(chunk)) ==
        "snapshot version 1: more than 330000 records");
  // Few records, but long ones.
  v1::SnapshotChunk fat;
  fat.set_version(2);
  fat.add_mappings()->set_group(std::string(4'000'000, 'g'));
  for (int i = 0; i < 17; ++i) REQUIRE(Add(assembler, fat) == "more");
  CHECK(Add(assembler, Last(fat)) == "snapshot version 2: more than 64 MiB");
  CHECK(Add(assembler, Last(Chunk(3, {443}))) == "whole");
}

TEST_CASE("edge_proto: more than a thousand malformed mappings are no mistake",
          "[edge_proto]") {
  const std::string why = "listener public_address: \"\" is not an IP address";
  v1::SnapshotChunk chunk;
  chunk.set_version(1);
  v1::Delta delta;
  for (int i = 0; i < 1'000; ++i) {
    chunk.add_mappings();
    delta.add_mappings();
  }
  SnapshotAssembler assembler;
  CHECK(Add(assembler, chunk) == "more");
  CHECK(FromProto(delta)->malformed.size() == 1'000);
  chunk.add_mappings();
  delta.add_mappings();
  CHECK(Add(assembler, Last(chunk)) == why);
  CHECK(Message(FromProto(delta).status()) == why);
}

TEST_CASE("edge_proto: a delta is taken over as it is", "[edge_proto]") {
  v1::Delta proto;
  proto.set_base_version(3);
  proto.set_version(4);
  proto.mutable_settings()->set_mtu(1280);
  proto.add_removed_uplinks("a");
  *proto.add_uplinks() = record_proto::ToProto(SampleState().uplinks[1]);
  proto.add_removed_groups("g3");
  *proto.add_groups() = record_proto::ToProto(SampleState().groups[1]);
  *proto.add_removed_mappings() = record_proto::ToProto(Tcp(80));
  *proto.add_mappings() = Map(443);
  *proto.add_mappings() = Map(70000);
  const auto change = FromProto(proto);
  REQUIRE(change.status() == absl::OkStatus());
  const auto& call = std::get<DeltaCall>(change->call);
  CHECK(call.base_version == 3);
  CHECK(call.version == 4);
  protocol::EdgeDelta expected;
  expected.settings = protocol::Settings{.mtu = 1280};
  expected.removed_uplinks = {"a"};
  expected.uplinks = {SampleState().uplinks[1]};
  expected.removed_groups = {"g3"};
  expected.groups = {SampleState().groups[1]};
  expected.removed_mappings = {Tcp(80)};
  expected.mappings = {{Tcp(443), "g1"}};
  CHECK(call.delta == expected);
  REQUIRE(change->malformed.size() == 1);
  CHECK(change->malformed[0].listener().first_port() == 70000);
}

TEST_CASE("edge_proto: settings that a delta leaves out are unchanged",
          "[edge_proto]") {
  const auto change = FromProto(v1::Delta());
  REQUIRE(change.ok());
  CHECK(!std::get<DeltaCall>(change->call).delta.settings.has_value());
}

TEST_CASE("edge_proto: a delta with another wrong record is refused whole",
          "[edge_proto]") {
  v1::Delta settings, uplink, group, removed;
  settings.mutable_settings()->set_mtu(1);
  uplink.add_uplinks();
  group.add_groups();
  removed.add_removed_mappings();
  for (const auto* proto : {&settings, &uplink, &group, &removed}) {
    CHECK(FromProto(*proto).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("edge_proto: Hello and Register carry epoch, digest and uplink",
          "[edge_proto]") {
  v1::Hello hello;
  hello.mutable_epoch()->set_cluster_uid("7a1c");
  hello.mutable_epoch()->set_number(3);
  hello.set_version("1.2.3");
  CHECK(FromProto(hello)->digest == protocol::Digest());
  CHECK(FromProto(hello)->epoch == Epoch{"7a1c", 3});
  CHECK(FromProto(hello)->version == "1.2.3");
  hello.set_digest("short");
  CHECK(!FromProto(hello).ok());

  v1::RegisterRequest request;
  CHECK(Message(FromProto(request).status()) == "uplink name: is empty");
  *request.mutable_uplink() = record_proto::ToProto(SampleState().uplinks[0]);
  *request.mutable_epoch() = hello.epoch();
  request.set_edge("paris");
  const auto call = FromProto(request);
  REQUIRE(call.ok());
  CHECK(call->uplink == SampleState().uplinks[0]);
  CHECK(call->epoch == Epoch{"7a1c", 3});
  CHECK(call->edge == "paris");
}

TEST_CASE("edge_proto: a result is an ACK or a NACK with its cause",
          "[edge_proto]") {
  SyncResult result{
      .version = 4,
      .refused = {{Tcp(22), "ReservedPort", "203.0.113.1 tcp/22 takes 22/tcp"}},
      .apply_time = std::chrono::milliseconds(1500)};
  const v1::Result ack = ToProto(result).result();
  CHECK(ack.ack());
  CHECK(ack.version() == 4);
  CHECK(ack.digest().size() == 32);
  CHECK(ack.refused(0).reason() == "ReservedPort");
  CHECK(ack.refused(0).listener().first_port() == 22);
  CHECK(ack.apply_time().seconds() == 1);
  CHECK(ack.apply_time().nanos() == 500'000'000);

  result.status = FailedPrecondition("base_version 3: this edge has 4");
  result.snapshot_needed = true;
  const v1::Result nack = ToProto(result).result();
  CHECK(!nack.ack());
  CHECK(nack.error() == "base_version 3: this edge has 4");
  CHECK(nack.snapshot_needed());
}

TEST_CASE("edge_proto: a report tells life, addresses and warnings",
          "[edge_proto]") {
  const Report report{
      .uplinks = {{.name = "a",
                   .alive = true,
                   .last_handshake = WallTime(std::chrono::seconds(100))},
                  {.name = "b", .draining = true}},
      .not_programmed = {{Tcp(80), "AddressNotLocal", "why"}},
      .warnings = {"StateNotDurable: disk full"},
      .mtu = 1420,
      .addresses = {{.address = Ip("203.0.113.1"),
                     .nic_address = Ip("10.0.0.7"),
                     .interface = "eth0"},
                    {.address = Ip("203.0.113.2"), .error = "nobody has it"}}};
  for (const v1::Report& proto :
       {ToProto(report).report(),
        ToProto(Welcome{.report = report}).welcome().report()}) {
    CHECK(proto.uplinks(0).alive());
    CHECK(proto.uplinks(0).last_handshake().seconds() == 100);
    CHECK(proto.uplinks(1).draining());
    CHECK(!proto.uplinks(1).has_last_handshake());
    CHECK(proto.not_programmed(0).reason() == "AddressNotLocal");
    CHECK(proto.warnings(0) == "StateNotDurable: disk full");
    CHECK(proto.mtu() == 1420);
    CHECK(proto.addresses(0).nic_address() == "10.0.0.7");
    CHECK(proto.addresses(1).nic_address() == "");
    CHECK(proto.addresses(1).error() == "nobody has it");
  }
  const v1::Welcome welcome =
      ToProto(Welcome{.reserved_ports = {"22/tcp"}}).welcome();
  CHECK(welcome.reserved_ports(0) == "22/tcp");
  CHECK(welcome.version() == kVersion);
}

TEST_CASE("edge_proto: the state of an edge that is not enrolled is bare",
          "[edge_proto]") {
  const v1::GetStateResponse proto = ToProto(EdgeStatus());
  CHECK(!proto.enrolment().enrolled());
  CHECK(proto.tunnel().public_key() == "");
  CHECK(!proto.has_epoch());
  CHECK(!proto.has_applied_at());
}

}  // namespace
}  // namespace edged::edge
