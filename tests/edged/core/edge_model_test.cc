#include "edged/core/edge_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>

#include "common/status.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using protocol::EdgeDelta;
using protocol::EdgeState;

EdgeState StateWith(std::vector<protocol::Mapping> mappings) {
  EdgeState state = SampleState();
  state.mappings = std::move(mappings);
  return state;
}

std::string Shown(const std::vector<Refusal>& refusals) {
  std::string text;
  for (const auto& refusal : refusals) {
    text += refusal.reason + ": " + refusal.message + "\n";
  }
  return text;
}

std::string ShownMappings(const EdgeModel& model) {
  std::string text;
  model.ForEachMapping(
      [&](const protocol::Listener& listener, const protocol::Group& group) {
        text += listener.ToString() + " -> " + group.name + "\n";
      });
  return text;
}

// Judges and commits; what was refused, or the error.
std::string Change(EdgeModel& model, const EdgeDelta& delta) {
  const auto judgement = model.Judge(delta, SampleLimits());
  if (!judgement.ok()) return judgement.status().ToString();
  model.Commit(judgement->accepted);
  CHECK(model.digest() == DigestOf(model.ToState()));
  return Shown(judgement->refusals);
}

std::string ErrorOf(const EdgeModel& model, const EdgeDelta& delta) {
  return model.Judge(delta, SampleLimits()).status().ToString();
}

TEST_CASE("edge_model: an empty one is an empty state", "[edge_model]") {
  const EdgeModel model;
  CHECK(model.ToState() == EdgeState());
  CHECK(model.digest() == DigestOf(EdgeState()));
  CHECK(model.mapping_count() == 0);
}

TEST_CASE("edge_model: gives a snapshot back as it came", "[edge_model]") {
  const EdgeState state =
      StateWith({{Tcp(443), "g1"},
                 {Tcp(1000, 2000), "g1"},
                 {Udp(53), "g1"},
                 {At("203.0.113.2", Protocol::kTcp, 443), "g2"}});
  const EdgeModel model = ModelOf(state);
  CHECK(model.ToState() == state);
  CHECK(model.digest() == DigestOf(state));
  CHECK(model.FindMapping(Tcp(443))->name == "g1");
  CHECK(model.FindMapping(Tcp(1500)) == nullptr);
  CHECK(model.FindMappingAt(Ip("203.0.113.1"), Protocol::kTcp, 1500)->name ==
        "g1");
  CHECK(model.FindMappingAt(Ip("203.0.113.1"), Protocol::kUdp, 1500) ==
        nullptr);

  const auto again = model.JudgeSnapshot(state, SampleLimits());
  REQUIRE(again.ok());
  CHECK(again->accepted.empty());
}

TEST_CASE("edge_model: a snapshot is applied by difference", "[edge_model]") {
  EdgeModel model = ModelOf(
      StateWith({{Tcp(80), "g1"}, {Tcp(81), "g1"}, {Tcp(90, 95), "g1"}}));
  EdgeState wanted = StateWith({{Tcp(81), "g1"}, {Tcp(92), "g1"}});
  wanted.uplinks.pop_back();
  for (auto& group : wanted.groups) group.uplinks = {"a", "b"};
  wanted.groups[0].uplinks = {"a"};
  const auto judgement = model.JudgeSnapshot(wanted, SampleLimits());
  REQUIRE(judgement.ok());
  CHECK(judgement->accepted == protocol::Difference(model.ToState(), wanted));
  model.Commit(judgement->accepted);
  CHECK(model.ToState() == wanted);
  CHECK(model.digest() == DigestOf(wanted));
}

TEST_CASE("edge_model: refuses the tunnel's port in UDP alone",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({}));
  const EdgeDelta delta{.mappings = {{Udp(51820), "g1"},
                                     {Udp(50000, 52000), "g1"},
                                     {Tcp(51820), "g1"},
                                     {Udp(51821), "g1"}}};
  CHECK(Change(model, delta) ==
        "TunnelPort: 203.0.113.1 udp/51820 takes port 51820/udp, which carries "
        "the tunnel (WireGuard)\n"
        "TunnelPort: 203.0.113.1 udp/50000-52000 takes port 51820/udp, which "
        "carries the tunnel (WireGuard)\n");
  CHECK(ShownMappings(model) ==
        "203.0.113.1 tcp/51820 -> g1\n203.0.113.1 udp/51821 -> g1\n");
}

TEST_CASE("edge_model: the tunnel's port is the one of the enrolment",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({}));
  Limits limits = SampleLimits();
  limits.listen_port = 51821;
  const auto judgement = model.Judge(
      {.mappings = {{Udp(51820), "g1"}, {Udp(51821), "g1"}}}, limits);
  REQUIRE(judgement.ok());
  CHECK(judgement->accepted.mappings.size() == 1);
  CHECK(judgement->refusals.at(0).listener == Udp(51821));
}

TEST_CASE("edge_model: carries no more mappings than it has memory for",
          "[edge_model]") {
  EdgeState state = SampleState();
  state.settings.public_addresses.push_back(
      {.address = Ip("203.0.113.3"), .index = 3});
  state.groups.push_back(
      {.name = "g3", .public_address = Ip("203.0.113.3"), .uplinks = {"a"}});
  for (const char* group : {"1", "2", "3"}) {
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      for (uint16_t port = 60'000; port > 10'000; --port) {
        state.mappings.push_back(
            {At(std::string("203.0.113.") + group, protocol, port),
             std::string("g") + group});
      }
    }
  }
  std::ranges::sort(state.mappings);
  EdgeModel model;
  const auto judged = model.JudgeSnapshot(state, SampleLimits());
  REQUIRE(judged.status() == absl::OkStatus());
  model.Commit(judged->accepted);
  CHECK(model.mapping_count() == 262'144);
  REQUIRE(judged->refusals.size() > 30'000);
  CHECK(judged->refusals.back().message ==
        "203.0.113.3 udp/60000 is one too many: an edge has at most 262144");
  const protocol::Mapping more{At("203.0.113.3", Protocol::kUdp, 60'000), "g3"};
  CHECK(Change(model, {.mappings = {more}}) ==
        "TooManyMappings: " + judged->refusals.back().message + "\n");
  // What is there may change, and what goes makes room.
  CHECK(Change(model, {.mappings = {{Tcp(20'000), "g1"}}}).empty());
  CHECK(Change(model, {.removed_mappings = {Tcp(20'000)}, .mappings = {more}})
            .empty());
  CHECK(model.mapping_count() == 262'144);
}

TEST_CASE("edge_model: refuses reserved ports, alone and within a range",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({}));
  const EdgeDelta delta{
      .mappings = {{Tcp(22), "g1"}, {Tcp(1, 65535), "g1"}, {Udp(22), "g1"}}};
  CHECK(Change(model, delta) ==
        "ReservedPort: 203.0.113.1 tcp/22 takes port 22/tcp, which is reserved "
        "on this edge (reservedPorts)\n"
        "ReservedPort: 203.0.113.1 tcp/1-65535 takes port 22/tcp, which is "
        "reserved on this edge (reservedPorts)\n");
  CHECK(ShownMappings(model) == "203.0.113.1 udp/22 -> g1\n");
}

TEST_CASE("edge_model: refuses each bad mapping alone and says why",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({{Tcp(150), "g1"}}));
  const EdgeDelta delta{
      .mappings = {{{Ip("203.0.113.1"), Protocol::kTcp, {0, 5}}, "g1"},
                   {{Ip("203.0.113.1"), Protocol::kTcp, {9, 5}}, "g1"},
                   {At("203.0.113.3", Protocol::kTcp, 80), "g1"},
                   {Tcp(80), "g9"},
                   {Tcp(80), "g2"},
                   {Tcp(100, 200), "g1"},
                   {Tcp(300, 400), "g1"},
                   {Tcp(400, 500), "g1"},
                   {Tcp(350), "g1"},
                   {Tcp(443), "g1"},
                   {Tcp(443), "g1"}}};
  CHECK(Change(model, delta) ==
        "InvalidPort: 203.0.113.1 tcp/0-5 is not a port or range of 1 to "
        "65535\n"
        "InvalidPort: 203.0.113.1 tcp/9-5 is not a port or range of 1 to "
        "65535\n"
        "UnknownPublicAddress: 203.0.113.3 tcp/80 is on an address that this "
        "edge does not have\n"
        "UnknownGroup: 203.0.113.1 tcp/80 points to group g9, which does not "
        "exist\n"
        "WrongGroup: 203.0.113.1 tcp/80 points to group g2, which is of "
        "203.0.113.2\n"
        "OverlappingRange: 203.0.113.1 tcp/100-200 overlaps 203.0.113.1 "
        "tcp/150, which is mapped\n"
        "OverlappingRange: 203.0.113.1 tcp/400-500 overlaps 203.0.113.1 "
        "tcp/300-400, which is mapped\n"
        "OverlappingRange: 203.0.113.1 tcp/350 overlaps 203.0.113.1 "
        "tcp/300-400, which is mapped\n"
        "DuplicateListener: 203.0.113.1 tcp/443 is mapped twice\n");
  CHECK(ShownMappings(model) ==
        "203.0.113.1 tcp/150 -> g1\n203.0.113.1 tcp/300-400 -> g1\n"
        "203.0.113.1 tcp/443 -> g1\n");
}

TEST_CASE("edge_model: does not carry one family over the other",
          "[edge_model]") {
  EdgeState state = SampleState();
  state.settings.public_addresses.push_back(
      {.address = Ip("2001:db8::1"), .index = 3});
  state.groups.push_back(
      {.name = "g3", .public_address = Ip("2001:db8::1"), .uplinks = {"a"}});
  EdgeModel model = ModelOf(state);
  const EdgeDelta delta{
      .mappings = {{At("2001:db8::1", Protocol::kTcp, 80), "g3"}}};
  CHECK(Change(model, delta) ==
        "WrongFamily: 2001:db8::1 tcp/80 cannot be carried by overlay network "
        "10.200.0.0/22: families are not translated\n");
}

TEST_CASE("edge_model: serves both families when it has both networks",
          "[edge_model]") {
  EdgeState state = DualState();
  state.mappings = {{Tcp(80), "g1"}, {Tcp6(80), "g6"}};
  CHECK(ShownMappings(ModelOf(state)) ==
        "203.0.113.1 tcp/80 -> g1\n2001:db8::1 tcp/80 -> g6\n");
  const auto judged = [&state] {
    return std::string(
        Message(EdgeModel().JudgeSnapshot(state, SampleLimits()).status()));
  };
  CHECK(judged().empty());
  state.settings.network6 = Net("10.9.0.0/22");
  CHECK(judged() == "network6 10.9.0.0/22 is not an IPv6 network");
  state.settings.network6 = Net("fd00:ed::/122");
  CHECK(judged() ==
        "tunnel network fd00:ed::/122: the length must be 48 to 121, so that "
        "64 blocks of two addresses fit");
  state.settings.network6 = Net("fd00:ed::/121");
  state.settings.public_addresses[2].index = 2;
  CHECK(judged() ==
        "public address 2001:db8::1 has index 2: overlay network "
        "fd00:ed::/121 has 1 to 1");
  state = DualState();
  for (const char* unfit :
       {"fe80::1", "::ffff:203.0.113.1", "ff02::1", "::1"}) {
    state.settings.public_addresses[2].address = Ip(unfit);
    CHECK(judged() == fmt::format("public address {} cannot be reached from "
                                  "outside",
                                  Ip(unfit).ToString()));
  }
}

TEST_CASE("edge_model: what a removal frees can be taken in the same delta",
          "[edge_model]") {
  EdgeModel model = ModelOf(
      StateWith({{Tcp(100, 200), "g1"}, {Tcp(201), "g1"}, {Tcp(300), "g1"}}));
  CHECK(Change(model, {.removed_mappings = {Tcp(100, 200), Tcp(201), Tcp(7)},
                       .mappings = {{Tcp(150), "g1"}, {Tcp(199, 250), "g1"}}})
            .empty());
  CHECK(ShownMappings(model) ==
        "203.0.113.1 tcp/150 -> g1\n203.0.113.1 tcp/199-250 -> g1\n"
        "203.0.113.1 tcp/300 -> g1\n");
  // Removed and wanted again is a change at most.
  const auto same = model.Judge(
      {.removed_mappings = {Tcp(300)}, .mappings = {{Tcp(300), "g1"}}},
      SampleLimits());
  REQUIRE(same.ok());
  CHECK(same->accepted.empty());
}

TEST_CASE("edge_model: a refused listener is not served any more",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({{Tcp(80), "g1"}, {Tcp(81), "g1"}}));
  CHECK(Change(model, {.mappings = {{Tcp(80), "g9"}}}) ==
        "UnknownGroup: 203.0.113.1 tcp/80 points to group g9, which does not "
        "exist\n");
  CHECK(ShownMappings(model) == "203.0.113.1 tcp/81 -> g1\n");
}

TEST_CASE("edge_model: takes only what really changes", "[edge_model]") {
  const EdgeState state = StateWith({{Tcp(80), "g1"}});
  const EdgeModel model = ModelOf(state);
  const auto judgement = model.Judge({.settings = state.settings,
                                      .removed_uplinks = {"x"},
                                      .uplinks = state.uplinks,
                                      .removed_groups = {"y"},
                                      .groups = state.groups,
                                      .removed_mappings = {Udp(1)},
                                      .mappings = state.mappings},
                                     SampleLimits());
  REQUIRE(judgement.ok());
  CHECK(judgement->accepted.empty());
  CHECK(judgement->refusals.empty());
}

TEST_CASE("edge_model: a kernel without timeouts refuses who has one, alone",
          "[edge_model]") {
  EdgeState state = StateWith({{Tcp(80), "g1"}, {Udp(80), "g1"}});
  state.groups[0].timeouts.tcp_idle = std::chrono::seconds(60);
  CHECK(ModelOf(state).mapping_count() == 2);
  Limits limits = SampleLimits();
  limits.no_timeouts = "this kernel has none";
  const auto judgement = EdgeModel().JudgeSnapshot(state, limits);
  REQUIRE(judgement.ok());
  CHECK(judgement->accepted.mappings.size() == 1);
  REQUIRE(judgement->refusals.size() == 1);
  CHECK(judgement->refusals[0].reason == "TimeoutsNotAvailable");
  CHECK(
      judgement->refusals[0].message ==
      "203.0.113.1 tcp/80 has a timeout of its own, and this kernel has none");
}

TEST_CASE("edge_model: refuses a senseless delta as a whole", "[edge_model]") {
  const EdgeModel model = ModelOf(StateWith({{Tcp(80), "g1"}}));
  CHECK(ErrorOf(model, {.uplinks = {{"d", Key(4), 3}}}) ==
        "INVALID_ARGUMENT: uplinks c and d both have block 3");
  CHECK(ErrorOf(model, {.removed_uplinks = {"c"}}) ==
        "INVALID_ARGUMENT: group g1 names uplink c, which is unknown");
  CHECK(ErrorOf(model, {.removed_groups = {"g1"}}) ==
        "INVALID_ARGUMENT: group g1 is removed while 1 mappings use it");
  CHECK(ErrorOf(model, {.groups = {{.name = "g1",
                                    .public_address = Ip("203.0.113.2")}}}) ==
        "INVALID_ARGUMENT: group g1 moves from 203.0.113.1 to 203.0.113.2: "
        "that is another group");
  CHECK(ErrorOf(model, {.groups = {{.name = "a b"}}}) ==
        "INVALID_ARGUMENT: \"a b\" cannot be the name of a group");
}

TEST_CASE("edge_model: refuses senseless settings", "[edge_model]") {
  const EdgeModel model = ModelOf(StateWith({{Tcp(80), "g1"}}));
  const auto error_of = [&](auto change) {
    protocol::Settings settings = model.settings();
    change(settings);
    return ErrorOf(model, {.settings = settings});
  };
  CHECK(error_of([](auto& s) { s.mtu = 100; }) ==
        "INVALID_ARGUMENT: tunnel MTU 100 is not 576 to 65535");
  CHECK(error_of([](auto& s) { s.public_addresses.pop_back(); }) ==
        "INVALID_ARGUMENT: group g2 is of public address 203.0.113.2, which is "
        "unknown");
}

TEST_CASE("edge_model: a public address goes with its groups and mappings",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({{Tcp(80), "g1"}, {Tcp(81), "g1"}}));
  protocol::Settings settings = model.settings();
  settings.public_addresses.erase(settings.public_addresses.begin());
  EdgeDelta delta{.settings = settings,
                  .removed_groups = {"g1"},
                  .removed_mappings = {Tcp(80)}};
  CHECK(ErrorOf(model, delta) ==
        "INVALID_ARGUMENT: group g1 is removed while 1 mappings use it");
  delta.removed_mappings.push_back(Tcp(81));
  CHECK(Change(model, delta).empty());
  CHECK(model.mapping_count() == 0);
  CHECK(model.FindPublicAddress(Ip("203.0.113.1")) == nullptr);
}

TEST_CASE("edge_model: a group goes when its mappings go or move",
          "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({{Tcp(80), "g1"}, {Tcp(81), "g1"}}));
  const protocol::Group other{
      .name = "other", .public_address = Ip("203.0.113.1"), .uplinks = {"a"}};
  CHECK(Change(model, {.removed_groups = {"g1"},
                       .groups = {other},
                       .removed_mappings = {Tcp(80)},
                       .mappings = {{Tcp(81), "other"}}})
            .empty());
  CHECK(ShownMappings(model) == "203.0.113.1 tcp/81 -> other\n");
  // Its number is free for the next group.
  CHECK(Change(model, {.groups = {{.name = "new",
                                   .public_address = Ip("203.0.113.1"),
                                   .uplinks = {"b"}}},
                       .mappings = {{Tcp(82), "new"}}})
            .empty());
  CHECK(ShownMappings(model) ==
        "203.0.113.1 tcp/81 -> other\n203.0.113.1 tcp/82 -> new\n");
}

TEST_CASE("edge_model: groups have so many different timeouts at most",
          "[edge_model]") {
  EdgeState state = SampleState();
  const auto group = [&state](size_t number, protocol::Timeouts timeouts) {
    protocol::Group made = state.groups[0];
    made.name = fmt::format("n{}", number);
    made.timeouts = timeouts;
    return made;
  };
  EdgeModel model = ModelOf(state);
  std::vector<protocol::Group> groups;
  for (size_t i = 0; i < 256; ++i) {
    groups.push_back(group(i, {.tcp_idle = std::chrono::seconds(i + 1)}));
  }
  CHECK(Change(model, {.groups = groups}) == "");
  // Of two groups they are one; of two protocols they are two.
  CHECK(Change(model, {.groups = {group(300, groups[0].timeouts)}}) == "");
  CHECK(ErrorOf(model, {.groups = {group(
                            301, {.udp_session = std::chrono::seconds(1)})}}) ==
        "INVALID_ARGUMENT: groups: 257 different timeouts; at most 256 are "
        "possible");
  CHECK(Change(model, {.removed_groups = {"n9"},
                       .groups = {group(
                           301, {.udp_session = std::chrono::seconds(1)})}}) ==
        "");
}

TEST_CASE("edge_model: a group may take the place of another one",
          "[edge_model]") {
  EdgeState state = SampleState();
  const auto group = [&state](size_t number) {
    protocol::Group made = state.groups[0];
    made.name = fmt::format("n{}", number);
    return made;
  };
  std::vector<protocol::Group> groups;
  while (state.groups.size() + groups.size() < 65'535) {
    groups.push_back(group(groups.size()));
  }
  state.groups.insert(state.groups.end(), groups.begin(), groups.end());
  std::ranges::sort(state.groups, {}, &protocol::Group::name);
  EdgeModel model = ModelOf(state);
  CHECK(ErrorOf(model, {.groups = {group(70'000)}}) ==
        "INVALID_ARGUMENT: 65536 groups: at most 65535 are possible");
  CHECK(ErrorOf(model, {.removed_groups = {"unknown"},
                        .groups = {group(70'000)}}) != "OK");
  // One that is mapped, and so gives its mapping away.
  CHECK(Change(model, {.mappings = {{Tcp(80), "n0"}, {Tcp(81), "n1"}}}) == "");
  CHECK(Change(model, {.removed_groups = {"n0"},
                       .groups = {group(70'000)},
                       .mappings = {{Tcp(80), "n70000"}}}) == "");
  CHECK(ShownMappings(model) ==
        "203.0.113.1 tcp/80 -> n70000\n203.0.113.1 tcp/81 -> n1\n");
  CHECK(model.groups().size() == 65'535);
}

TEST_CASE("edge_model: a copy goes its own way", "[edge_model]") {
  EdgeModel model = ModelOf(StateWith({{Tcp(80), "g1"}, {Udp(5, 9), "g1"}}));
  const EdgeState before = model.ToState();
  const EdgeModel copy = model;
  CHECK(Change(model, {.removed_groups = {"g1"},
                       .removed_mappings = {Tcp(80), Udp(5, 9)}})
            .empty());
  CHECK(copy.ToState() == before);
  CHECK(copy.digest() == DigestOf(before));
  CHECK(ShownMappings(copy) ==
        "203.0.113.1 tcp/80 -> g1\n203.0.113.1 udp/5-9 -> g1\n");
}

TEST_CASE("edge_model: one change among 60,000 mappings does not read them",
          "[edge_model]") {
  EdgeState state = SampleState();
  for (uint16_t port = 1000; port < 61000; ++port) {
    if (port != 51820) state.mappings.push_back({Tcp(port), "g1"});
  }
  EdgeModel model = ModelOf(state);
  REQUIRE(model.mapping_count() == state.mappings.size());

  constexpr int kRounds = 1000;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) {
    const auto gone =
        model.Judge({.removed_mappings = {Tcp(2000)}}, SampleLimits());
    REQUIRE(gone.ok());
    model.Commit(gone->accepted);
    const auto back =
        model.Judge({.mappings = {{Tcp(2000), "g1"}}}, SampleLimits());
    REQUIRE(back.ok());
    model.Commit(back->accepted);
  }
  const auto spent = std::chrono::steady_clock::now() - start;
  CHECK(model.digest() == DigestOf(state));
  // Reading 60,000 mappings once takes some 100 µs, so that 2,000 changes
  // would take 200 ms; they take about 10, and more under a sanitizer.
  CHECK(std::chrono::duration_cast<std::chrono::milliseconds>(spent).count() <
        150);
}

}  // namespace
}  // namespace edged::edge
