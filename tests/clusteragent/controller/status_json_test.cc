#include "clusteragent/controller/status_json.h"

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

using nlohmann::json;

constexpr char kThen[] = "2026-01-31T12:00:00Z";
constexpr char kNow[] = "2026-02-01T12:00:00Z";

Condition Ready(ConditionStatus status) {
  return {"Ready", status, "Serving", ""};
}

TEST_CASE("status_json: a merge patch has what differs alone",
          "[status_json]") {
  const json from = json::parse(R"({"a":1,"b":{"c":1,"d":2},"e":[1,2]})");
  CHECK(MergeDiff(from, from) == json::object());
  const json to = json::parse(R"({"a":1,"b":{"c":3},"e":[1],"f":4})");
  const json patch = MergeDiff(from, to);
  CHECK(patch.dump() == R"({"b":{"c":3,"d":null},"e":[1],"f":4})");
  json patched = from;
  patched.merge_patch(patch);
  CHECK(patched == to);
}

TEST_CASE("status_json: the time of a transition stands where nothing changed",
          "[status_json]") {
  ObjectStatus status{.object = {Kind::kPortBinding, "a", "web"},
                      .observed_generation = 3};
  status.conditions = {Ready(ConditionStatus::kTrue)};
  status.bindings = {{"http", {"vps 203.0.113.1 tcp/80"}, status.conditions[0]},
                     {"http", {}, status.conditions[0]}};
  const json first =
      PortBindingStatusJson(status, nullptr, nullptr, json(), kThen);
  CHECK(first["conditions"][0]["lastTransitionTime"] == kThen);
  CHECK(first["conditions"][0]["observedGeneration"] == 3);
  // A key of the schema's list stands once.
  CHECK(first["bindings"].size() == 1);
  CHECK(PortBindingStatusJson(status, nullptr, nullptr, first, kNow) == first);
  status.conditions = {Ready(ConditionStatus::kFalse)};
  const json second =
      PortBindingStatusJson(status, nullptr, nullptr, first, kNow);
  CHECK(second["conditions"][0]["lastTransitionTime"] == kNow);
  CHECK(second["bindings"] == first["bindings"]);
}

TEST_CASE("status_json: a Service's addresses with the errors of their ports",
          "[status_json]") {
  const IpAddress address = *IpAddress::Parse("203.0.113.1");
  PlannedObject planned{.key = {Kind::kService, "a", "web"}};
  ObjectStatus status{.object = planned.key};
  CHECK(LoadBalancerJson(planned, status) == json::object());
  planned.bindings = {
      {.name = "tcp-80",
       .placements = {{.edge = "vps",
                       .listener = {address, Protocol::kTcp, {80, 80}}}}},
      {.name = "udp-53",
       .placements = {
           {.edge = "vps", .listener = {address, Protocol::kUdp, {53, 53}}}}}};
  status.bindings = {
      {"tcp-80", {}, Ready(ConditionStatus::kTrue)},
      {"udp-53",
       {},
       {"Ready", ConditionStatus::kFalse, "ListenerConflict", "lost"}}};
  CHECK(LoadBalancerJson(planned, status).dump() ==
        R"({"ingress":[{"ip":"203.0.113.1","ipMode":"VIP","ports":[)"
        R"({"port":80,"protocol":"TCP"},)"
        R"({"error":"edged.dev/ListenerConflict","port":53,)"
        R"("protocol":"UDP"}]}]})");
  CHECK(AddressesText(planned) == "203.0.113.1");
}

TEST_CASE("status_json: what a replica says of itself", "[status_json]") {
  UplinkStatus status{
      .ready = Ready(ConditionStatus::kTrue), .joined = 2, .carrying = 1};
  status.edges = {{"a", {.name = "a", .uid = "u1", .block = 3}},
                  {"b", {.name = "b", .trouble = "the tunnel is down"}}};
  const PublicKey key;
  const json first = UplinkStatusJson({{"a", key}, {"b", key}, {"new", key}},
                                      status, 1, json(), kThen);
  CHECK(first["conditions"][0]["type"] == "Ready");
  CHECK(first["conditions"][0]["lastTransitionTime"] == kThen);
  CHECK(first["summary"]["tunnels"] == "1/2");
  CHECK(first["edges"].size() == 3);
  CHECK(!first.contains("addresses"));
  CHECK(first["edges"][0]["block"] == 3);
  CHECK(first["edges"][1]["trouble"] == "the tunnel is down");
  CHECK(first["edges"][2].size() == 2);
  CHECK(UplinkStatusJson({{"a", key}, {"b", key}, {"new", key}}, status, 1,
                         first, kNow) == first);
  status.addresses = TellableAddresses(
      {*IpAddress::Parse("fe80::1"), *IpAddress::Parse("192.0.2.1")});
  CHECK(UplinkStatusJson({}, status, 1, first, kNow)["addresses"] ==
        json{"192.0.2.1"});
  status.addresses.clear();
  // A process that starts leaves what stands there.
  status.ready.status = ConditionStatus::kUnknown;
  status.carrying = 0;
  status.edges["a"].trouble = "not yet";
  CHECK(UplinkStatusJson({{"a", key}, {"b", key}, {"new", key}}, status, 1,
                         first, kNow) == first);
}

}  // namespace
}  // namespace edged::agent
