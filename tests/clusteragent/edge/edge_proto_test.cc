#include "clusteragent/edge/edge_proto.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "common/record_proto/record_proto.h"
#include "common/status.h"

namespace edged::agent {
namespace {

PublicKey KeyNumber(uint8_t n) {
  std::array<uint8_t, kKeySize> bytes{};
  bytes.fill(n);
  return PublicKey(bytes);
}

IpAddress Ip(std::string_view text) { return IpAddress::Parse(text).value(); }

protocol::Listener ListenerNumber(uint16_t n) {
  return {Ip("203.0.113.1"), Protocol::kUdp, {n, n}};
}

protocol::EdgeState StateWith(uint16_t mappings) {
  protocol::EdgeState state;
  for (uint16_t n = 1; n <= mappings; ++n) {
    state.mappings.push_back({ListenerNumber(n), "g"});
  }
  return state;
}

// "settings, 999 mappings; 2 mappings, last": one clause per chunk.
std::string Shape(const std::vector<v1::SyncRequest>& requests) {
  std::string text;
  for (const v1::SyncRequest& request : requests) {
    if (!text.empty()) text += "; ";
    const v1::SnapshotChunk& chunk = request.snapshot();
    std::string parts = chunk.has_settings() ? "settings" : "";
    const auto add = [&parts](int count, const char* what) {
      if (count == 0) return;
      if (!parts.empty()) parts += ", ";
      parts += fmt::format("{} {}", count, what);
    };
    add(chunk.uplinks_size(), "uplinks");
    add(chunk.groups_size(), "groups");
    add(chunk.mappings_size(), "mappings");
    text += parts + (chunk.last() ? ", last" : "");
  }
  return text;
}

TEST_CASE("edge_proto: a snapshot goes in chunks of 1,000 records",
          "[edge_proto]") {
  const auto shape = [](uint16_t mappings) {
    return Shape(SnapshotRequests(5, StateWith(mappings)));
  };
  CHECK(shape(0) == "settings, last");
  CHECK(shape(1) == "settings, 1 mappings, last");
  CHECK(shape(998) == "settings, 998 mappings, last");
  CHECK(shape(999) == "settings, 999 mappings, last");
  CHECK(shape(1000) == "settings, 999 mappings; 1 mappings, last");
  CHECK(shape(1001) == "settings, 999 mappings; 2 mappings, last");
  CHECK(shape(1999) == "settings, 999 mappings; 1000 mappings, last");
  CHECK(shape(2500) ==
        "settings, 999 mappings; 1000 mappings; 501 mappings, last");
}

TEST_CASE("edge_proto: large groups go in messages that an edge takes",
          "[edge_proto]") {
  protocol::EdgeState state;
  for (int n = 0; n < 100; ++n) {
    protocol::Group& group = state.groups.emplace_back();
    group.name = fmt::format("g-{:03}", n);
    group.public_address = Ip("203.0.113.1");
    for (int i = 0; i < 1'024; ++i) {
      const auto prefix = [i](const char* of) {
        return IpPrefix::Parse(fmt::format(fmt::runtime(of), i)).value();
      };
      group.access.allow.push_back(
          prefix("2001:db8:1111:2222:3333:4444:1:{:x}/128"));
      group.access.deny.push_back(
          prefix("2001:db8:1111:2222:3333:4444:2:{:x}/128"));
    }
  }
  size_t most = 0;
  int groups = 0;
  for (const v1::SyncRequest& request : SnapshotRequests(5, state)) {
    most = std::max(most, request.ByteSizeLong());
    groups += request.snapshot().groups_size();
  }
  CHECK(most < 256 << 10);
  CHECK(groups == 100);
}

TEST_CASE("edge_proto: every chunk says its version, every record goes once",
          "[edge_proto]") {
  protocol::EdgeState state = StateWith(2500);
  for (int i = 0; i < 30; ++i) {
    state.uplinks.push_back({fmt::format("u{:02}", i), KeyNumber(1), 1});
    state.groups.push_back({.name = fmt::format("g{:02}", i)});
  }
  const auto requests = SnapshotRequests(77, state);
  CHECK(Shape(requests) ==
        "settings, 30 uplinks, 30 groups, 939 mappings; 1000 mappings; "
        "561 mappings, last");
  std::set<uint32_t> ports;
  for (const v1::SyncRequest& request : requests) {
    CHECK(request.snapshot().version() == 77);
    for (const v1::Mapping& mapping : request.snapshot().mappings()) {
      ports.insert(mapping.listener().first_port());
    }
  }
  CHECK(ports.size() == 2500);
}

TEST_CASE("edge_proto: a snapshot's messages give the state's digest again",
          "[edge_proto]") {
  protocol::EdgeState state = StateWith(1500);
  state.settings = {
      .public_addresses = {{Ip("203.0.113.1"), "eth0", Ip("10.0.2.15"), 1},
                           {Ip("2001:db8::1"), "", {}, 2}},
      .mtu = 1280,
      .heartbeat_interval = std::chrono::milliseconds(125),
      .unhealthy_threshold = 5};
  state.uplinks = {{"home", KeyNumber(2), 7}};
  state.groups = {
      {"g", Ip("203.0.113.1"), protocol::Affinity::kClientIp, {"home"}}};
  state.mappings[0].listener.ports.last = 40;
  protocol::Digest digest;
  for (const v1::SyncRequest& request : SnapshotRequests(1, state)) {
    const v1::SnapshotChunk& chunk = request.snapshot();
    if (chunk.has_settings()) {
      digest.Add(record_proto::FromProto(chunk.settings()).value());
    }
    for (const auto& one : chunk.uplinks()) {
      digest.Add(record_proto::FromProto(one).value());
    }
    for (const auto& one : chunk.groups()) {
      digest.Add(record_proto::FromProto(one).value());
    }
    for (const auto& one : chunk.mappings()) {
      digest.Add(record_proto::FromProto(one).value());
    }
  }
  CHECK(digest.ToString() == DigestOf(state).ToString());
}

TEST_CASE("edge_proto: a delta says what it changes", "[edge_proto]") {
  protocol::EdgeDelta delta;
  delta.removed_uplinks = {"old"};
  delta.uplinks = {{"new", KeyNumber(3), 2}};
  delta.removed_groups = {"g-old"};
  delta.groups = {{"g-new", Ip("203.0.113.1"), {}, {"new"}}};
  delta.removed_mappings = {ListenerNumber(80)};
  delta.mappings = {{ListenerNumber(81), "g-new"}};
  v1::Delta proto = DeltaRequest(4, 5, delta).delta();
  CHECK(proto.base_version() == 4);
  CHECK(proto.version() == 5);
  CHECK_FALSE(proto.has_settings());
  CHECK(proto.removed_uplinks(0) == "old");
  CHECK(record_proto::FromProto(proto.uplinks(0)).value() == delta.uplinks[0]);
  CHECK(proto.removed_groups(0) == "g-old");
  CHECK(record_proto::FromProto(proto.groups(0)).value() == delta.groups[0]);
  CHECK(record_proto::FromProto(proto.removed_mappings(0)).value() ==
        ListenerNumber(80));
  CHECK(record_proto::FromProto(proto.mappings(0)).value() ==
        delta.mappings[0]);
  delta.settings = protocol::Settings{.mtu = 1400};
  proto = DeltaRequest(4, 5, delta).delta();
  CHECK(record_proto::FromProto(proto.settings()).value() == *delta.settings);
}

TEST_CASE("edge_proto: says who we are", "[edge_proto]") {
  const Epoch epoch{"c1", 9};
  const v1::RegisterRequest request =
      RegisterRequest(epoch, {"home", KeyNumber(3), 2}, "vps");
  CHECK(request.epoch().cluster_uid() == "c1");
  CHECK(request.epoch().number() == 9);
  CHECK(request.uplink().name() == "home");
  CHECK(request.uplink().public_key() == KeyNumber(3).ToString());
  CHECK(request.uplink().block() == 2);
  CHECK(request.edge() == "vps");
  const protocol::Digest digest = DigestOf(StateWith(3));
  const v1::Hello hello = HelloRequest(epoch, digest).hello();
  CHECK(hello.epoch().number() == 9);
  CHECK(record_proto::DigestFromProto(hello.digest()).value() == digest);
  CHECK_FALSE(hello.version().empty());
}

TEST_CASE("edge_proto: reads the edge's answers", "[edge_proto]") {
  v1::Welcome welcome;
  welcome.set_digest(std::string(32, 'x'));
  welcome.add_reserved_ports("22/tcp");
  welcome.set_version("1.0");
  v1::UplinkLife& life = *welcome.mutable_report()->add_uplinks();
  life.set_name("home");
  life.set_alive(true);
  life.set_applied_digest(std::string(32, 'y'));
  welcome.mutable_report()->add_warnings("StateNotDurable");
  welcome.mutable_report()->set_mtu(1420);
  const auto read = FromProto(welcome);
  REQUIRE(read.ok());
  CHECK(read->digest.ToString().starts_with("7878"));
  CHECK(read->reserved_ports == std::vector<std::string>{"22/tcp"});
  CHECK(read->version == "1.0");
  REQUIRE(read->report.uplinks.size() == 1);
  CHECK(read->report.uplinks[0].name == "home");
  CHECK(read->report.uplinks[0].alive);
  CHECK(read->report.uplinks[0].applied.ToString().starts_with("7979"));
  CHECK(read->report.warnings == std::vector<std::string>{"StateNotDurable"});
  CHECK(read->report.mtu == 1420);

  v1::Result result;
  result.set_version(3);
  result.set_ack(true);
  result.set_digest(std::string(32, 'x'));
  v1::RefusedMapping& refused = *result.add_refused();
  *refused.mutable_listener() = record_proto::ToProto(ListenerNumber(80));
  refused.set_reason("ReservedPort");
  refused.set_message("no");
  result.mutable_apply_time()->set_seconds(1);
  result.mutable_apply_time()->set_nanos(5);
  const auto answer = FromProto(result);
  REQUIRE(answer.ok());
  CHECK(answer->version == 3);
  CHECK(answer->ack);
  CHECK(answer->refused == std::vector<RefusedMapping>{
                               {ListenerNumber(80), "ReservedPort", "no"}});
  CHECK(answer->apply_time == std::chrono::nanoseconds(1'000'000'005));
  result.mutable_apply_time()->set_seconds(INT64_MAX);
  CHECK(FromProto(result)->apply_time ==
        std::chrono::hours(24) + std::chrono::nanoseconds(5));
}

TEST_CASE("edge_proto: refuses answers that say nothing sensible",
          "[edge_proto]") {
  v1::Welcome welcome;
  welcome.set_digest("short");
  CHECK(absl::IsInvalidArgument(FromProto(welcome).status()));
  v1::Report report;
  report.add_uplinks()->set_applied_digest("short");
  CHECK(absl::IsInvalidArgument(FromProto(report).status()));
  report = {};
  report.add_not_programmed()->mutable_listener()->set_public_address("here");
  CHECK(absl::IsInvalidArgument(FromProto(report).status()));
  v1::Result result;
  result.add_refused();
  CHECK(absl::IsInvalidArgument(FromProto(result).status()));
}

TEST_CASE("edge_proto: reads what the edge says about its key",
          "[edge_proto]") {
  const PublicKey next = PrivateKey::Generate().Public();
  const PublicKey in_use = PrivateKey::Generate().Public();
  v1::EdgeKey proto;
  proto.set_public_key(next.ToString());
  proto.set_key_in_use(in_use.ToString());
  CHECK(FromProto(proto).value() == std::nullopt);  // of a newer edge
  using Phase = EdgeKeyNotice::Phase;
  for (const auto& [phase, wanted] :
       {std::pair{v1::EdgeKey::PHASE_IN_USE, Phase::kInUse},
        std::pair{v1::EdgeKey::PHASE_PROPOSED, Phase::kProposed},
        std::pair{v1::EdgeKey::PHASE_SWITCHING, Phase::kSwitching}}) {
    proto.set_phase(phase);
    CHECK(FromProto(proto).value() == EdgeKeyNotice{wanted, next, in_use});
  }
  proto.set_public_key("AAAA");
  CHECK(absl::IsInvalidArgument(FromProto(proto).status()));
}

TEST_CASE("edge_proto: reads what others did to an edge", "[edge_proto]") {
  v1::WatchEventsResponse proto;
  CHECK(!FromProto(proto));  // of a newer edge
  proto.mutable_lost()->set_count(3);
  CHECK(!FromProto(proto));
  proto.mutable_at()->set_seconds(7);
  v1::Drift& drift = *proto.mutable_drift();
  drift.set_part(v1::DRIFT_PART_TUNNEL);
  drift.set_what("a peer is gone");
  drift.mutable_by()->set_netlink_port(9);
  drift.set_repair("1 peer");
  drift.mutable_took()->set_nanos(5);
  const auto event = FromProto(proto);
  REQUIRE(event);
  CHECK(event->at.time_since_epoch() == std::chrono::seconds(7));
  CHECK(std::get<Drift>(event->what) ==
        Drift{.part = DriftPart::kTunnel,
              .what = "a peer is gone",
              .by = {.port = 9},
              .repair = "1 peer",
              .took = std::chrono::nanoseconds(5)});
  v1::Flood& flood = *proto.mutable_flood();
  flood.set_over(true);
  flood.set_repairs(4);
  flood.mutable_lasted()->set_seconds(INT64_MAX);
  const Flood read = std::get<Flood>(FromProto(proto)->what);
  CHECK(read.over);
  CHECK(read.repairs == 4);
  CHECK(read.lasted > std::chrono::hours(24));
}

TEST_CASE("edge_proto: an edge says whether it knows access rules",
          "[edge_proto]") {
  v1::Welcome proto;
  CHECK(!FromProto(proto)->knows_access);
  proto.add_features("something");
  CHECK(!FromProto(proto)->knows_access);
  proto.add_features("access");
  CHECK(FromProto(proto)->knows_access);
}

}  // namespace
}  // namespace edged::agent
