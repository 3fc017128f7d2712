#include "edged/service/status_text.h"

#include <catch2/catch.hpp>

namespace edged::edge {
namespace {

constexpr int64_t kNow = 1'700'000'000;

std::string Text(const v1::GetStateResponse& state) {
  return "\n" + StatusText(state, std::chrono::system_clock::time_point(
                                      std::chrono::seconds(kNow)));
}

v1::GetStateResponse Enrolled() {
  v1::GetStateResponse state;
  state.set_version("0.1.0");
  state.mutable_started()->set_seconds(kNow - 310);
  state.mutable_enrolment()->set_enrolled(true);
  state.mutable_enrolment()->set_contacted(true);
  state.mutable_enrolment()->set_edge("paris");
  state.mutable_enrolment()->set_cluster_uid("7a1c");
  v1::Tunnel& tunnel = *state.mutable_tunnel();
  tunnel.set_device("edged0");
  tunnel.set_backend("kernel");
  tunnel.set_listen_port(51820);
  tunnel.set_network("10.200.0.0/22");
  tunnel.set_address("10.200.0.1");
  tunnel.set_mtu(1420);
  state.set_digest("0123456789abcdef");
  return state;
}

v1::UplinkState& AddUplink(v1::GetStateResponse& state,
                           const std::string& name) {
  v1::UplinkState& uplink = *state.add_uplinks();
  uplink.set_name(name);
  uplink.set_address("10.200.0.16");
  uplink.set_applied_digest("0123456789abcdef");
  return uplink;
}

// How the edge's uptime is written.
std::string UpSince(int64_t seconds_ago) {
  v1::GetStateResponse state;
  state.mutable_started()->set_seconds(kNow - seconds_ago);
  const std::string text = Text(state);
  const size_t up = text.find("up ") + 3;
  return text.substr(up, text.find('\n', up) - up);
}

TEST_CASE("status_text: an edge that is not enrolled says how to join",
          "[status_text]") {
  v1::GetStateResponse state;
  state.set_version("0.1.0");
  state.mutable_started()->set_seconds(kNow - 3);
  CHECK(Text(state) == R"(
edged 0.1.0, up 3s
not enrolled: run `edged join TOKEN`
)");
}

TEST_CASE("status_text: an enrolled edge that nobody called", "[status_text]") {
  v1::GetStateResponse state = Enrolled();
  state.mutable_enrolment()->set_contacted(false);
  state.mutable_enrolment()->clear_cluster_uid();
  CHECK(Text(state) == R"(
edged 0.1.0, up 5m10s
enrolled as paris, cluster -, no contact yet
tunnel   edged0 (kernel WireGuard), udp 51820, mtu 1420, 10.200.0.1 in 10.200.0.0/22
mappings 0 in the kernel, digest 01234567
)");
}

TEST_CASE("status_text: an edge at work", "[status_text]") {
  v1::GetStateResponse state = Enrolled();
  state.set_mapping_count(3);
  state.set_applied_version(7);
  state.mutable_applied_at()->set_seconds(kNow - 75);
  state.mutable_apply_time()->set_nanos(1'234'567);
  state.mutable_epoch()->set_number(4);
  v1::ResolvedAddress& address = *state.add_addresses();
  address.set_address("203.0.113.1");
  address.set_nic_address("10.0.0.7");
  address.set_interface("eth0");
  v1::ResolvedAddress& lost = *state.add_addresses();
  lost.set_address("203.0.113.2");
  lost.set_error("no interface has it");
  v1::UplinkState& alive = AddUplink(state, "a");
  alive.set_alive(true);
  alive.set_endpoint("198.51.100.7:40123");
  alive.mutable_last_handshake()->set_seconds(kNow - 59);
  alive.mutable_last_heartbeat()->set_seconds(kNow);
  alive.set_received_bytes(1023);
  alive.set_sent_bytes(1536);
  alive.set_mtu(1216);
  AddUplink(state, "b").set_draining(true);
  AddUplink(state, "c");
  CHECK(Text(state) == R"(
edged 0.1.0, up 5m10s
enrolled as paris, cluster 7a1c
tunnel   edged0 (kernel WireGuard), udp 51820, mtu 1420, 10.200.0.1 in 10.200.0.0/22
mappings 3 in the kernel, version 7 applied 1m15s ago in 1.23 ms, digest 01234567
epoch    4

PUBLIC ADDRESS  ON        INTERFACE  PROBLEM
203.0.113.1     10.0.0.7  eth0       -
203.0.113.2     -         -          no interface has it

UPLINK  STATE     ADDRESS      ENDPOINT            HANDSHAKE  HEARTBEAT  RECEIVED  SENT     MTU   CARRIES
a       alive     10.200.0.16  198.51.100.7:40123  59s        0s         1023 B    1.5 KiB  1216  01234567
b       draining  10.200.0.16  -                   -          -          0 B       0 B      -     01234567
c       dead      10.200.0.16  -                   -          -          0 B       0 B      -     01234567
)");
}

TEST_CASE("status_text: refused mappings and warnings come last",
          "[status_text]") {
  v1::GetStateResponse state = Enrolled();
  v1::RefusedMapping& port = *state.add_refused();
  port.mutable_listener()->set_public_address("203.0.113.1");
  port.mutable_listener()->set_protocol(v1::PROTOCOL_TCP);
  port.mutable_listener()->set_first_port(22);
  port.set_reason("ReservedPort");
  port.set_message("203.0.113.1 tcp/22 takes port 22/tcp");
  v1::RefusedMapping& range = *state.add_refused();
  range = port;
  range.mutable_listener()->set_protocol(v1::PROTOCOL_UDP);
  range.mutable_listener()->set_first_port(50000);
  range.mutable_listener()->set_last_port(52000);
  range.set_reason("TunnelPort");
  range.set_message("it takes 51820/udp");
  state.add_warnings("StateNotDurable: disk full");
  state.add_warnings("the device is gone");
  CHECK(Text(state) == R"(
edged 0.1.0, up 5m10s
enrolled as paris, cluster 7a1c
tunnel   edged0 (kernel WireGuard), udp 51820, mtu 1420, 10.200.0.1 in 10.200.0.0/22
mappings 0 in the kernel, digest 01234567

REFUSED                      REASON        MESSAGE
203.0.113.1 tcp/22           ReservedPort  203.0.113.1 tcp/22 takes port 22/tcp
203.0.113.1 udp/50000-52000  TunnelPort    it takes 51820/udp

warning: StateNotDurable: disk full
warning: the device is gone
)");
}

TEST_CASE("status_text: what others changed, and what came of it",
          "[status_text]") {
  v1::GetStateResponse state;
  state.mutable_enrolment()->set_enrolled(true);
  const auto add = [&state](int64_t ago) {
    v1::WatchEventsResponse& event = *state.add_recent_events();
    event.mutable_at()->set_seconds(kNow - ago);
    return &event;
  };
  v1::Drift& table = *add(70)->mutable_drift();
  table.set_what("table deleted");
  table.mutable_by()->set_pid(4711);
  table.mutable_by()->set_process("nft");
  table.mutable_took()->set_nanos(612'000);
  v1::Drift& route = *add(8)->mutable_drift();
  route.set_what("removed: route 10.200.0.16/28");
  route.mutable_by()->set_netlink_port(99);
  route.set_error("no buffer");
  add(4)->mutable_flood();
  v1::Flood& flood = *add(0)->mutable_flood();
  flood.set_over(true);
  flood.set_repairs(40);
  CHECK_THAT(Text(state), Catch::EndsWith(R"(
CHANGED BY OTHERS              BY               AGO    REPAIR
table deleted                  nft (pid 4711)   1m10s  repaired in 0.6 ms
removed: route 10.200.0.16/28  netlink port 99  8s     not repaired: no buffer
a flood of changes began       -                4s     -
a flood of changes is over     -                0s     40 repairs
)"));
}

TEST_CASE("status_text: a warning is shown before any join", "[status_text]") {
  v1::GetStateResponse state;
  state.set_version("0.1.0");
  state.mutable_started()->set_seconds(kNow);
  state.add_warnings("join.yaml:3: edge: missing");
  CHECK(Text(state) == R"(
edged 0.1.0, up 0s
not enrolled: run `edged join TOKEN`

warning: join.yaml:3: edge: missing
)");
}

TEST_CASE("status_text: ages are short", "[status_text]") {
  CHECK(UpSince(0) == "0s");
  CHECK(UpSince(-5) == "0s");  // a clock that was set back
  CHECK(UpSince(59) == "59s");
  CHECK(UpSince(60) == "1m0s");
  CHECK(UpSince(3'599) == "59m59s");
  CHECK(UpSince(3'600) == "1h0m");
  CHECK(UpSince(86'399) == "23h59m");
  CHECK(UpSince(86'400) == "1d");
  CHECK(UpSince(12 * 86'400 + 5) == "12d");
}

TEST_CASE("status_text: bytes go up to what a tunnel carries",
          "[status_text]") {
  v1::GetStateResponse state = Enrolled();
  v1::UplinkState& uplink = AddUplink(state, "a");
  uplink.set_received_bytes(5ull << 40);
  uplink.set_sent_bytes(UINT64_MAX);
  CHECK_THAT(Text(state), Catch::Contains("5.0 TiB   16777216.0 TiB"));
}

}  // namespace
}  // namespace edged::edge
