#include "common/protocol/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "tests/common/protocol/random_state.h"

namespace edged::protocol {
namespace {

IpAddress Ip(std::string_view text) { return IpAddress::Parse(text).value(); }

Listener On(uint16_t first, uint16_t last, Protocol protocol = Protocol::kTcp) {
  return {Ip("203.0.113.1"), protocol, {first, last}};
}

EdgeState Example() {
  EdgeState state;
  state.settings.mtu = 1420;
  state.uplinks = {{"home-0", PublicKey(), 1}, {"home-1", PublicKey(), 2}};
  state.groups = {{"a", Ip("203.0.113.1"), Affinity::kNone, {"home-0"}},
                  {"b", Ip("203.0.113.1"), Affinity::kNone, {"home-1"}}};
  state.mappings = {{On(80, 80), "a"}, {On(443, 443), "a"}};
  return state;
}

// A delta in one line: -removed, +upserted.
std::string Print(const EdgeDelta& delta) {
  std::string text;
  if (delta.settings) text += fmt::format("mtu={} ", delta.settings->mtu);
  for (const auto& name : delta.removed_uplinks) text += "-" + name + " ";
  for (const auto& uplink : delta.uplinks) {
    text += fmt::format("+{}#{} ", uplink.name, uplink.block);
  }
  for (const auto& name : delta.removed_groups) text += "-" + name + " ";
  for (const auto& group : delta.groups) {
    text += fmt::format("+{}({}) ", group.name, fmt::join(group.uplinks, ","));
  }
  for (const auto& listener : delta.removed_mappings) {
    text += fmt::format("-[{}] ", listener.ToString());
  }
  for (const auto& mapping : delta.mappings) {
    text +=
        fmt::format("+[{}]={} ", mapping.listener.ToString(), mapping.group);
  }
  return text;
}

TEST_CASE("records: prints a listener", "[records]") {
  CHECK(On(443, 443).ToString() == "203.0.113.1 tcp/443");
  CHECK(
      Listener{Ip("2001:db8::1"), Protocol::kUdp, {50000, 50100}}.ToString() ==
      "2001:db8::1 udp/50000-50100");
}

TEST_CASE("records: listeners overlap by address, protocol and port",
          "[records]") {
  CHECK(On(443, 443).Overlaps(On(400, 500)));
  CHECK_FALSE(On(443, 443).Overlaps(On(444, 500)));
  CHECK_FALSE(On(53, 53).Overlaps(On(53, 53, Protocol::kUdp)));
  Listener elsewhere = On(443, 443);
  elsewhere.public_address = Ip("203.0.113.2");
  CHECK_FALSE(On(443, 443).Overlaps(elsewhere));
}

TEST_CASE("records: a difference names exactly what changes", "[records]") {
  const EdgeState from = Example();
  CHECK(Print(Difference(from, from)) == "");
  CHECK(Difference(from, from).empty());

  EdgeState to = from;
  to.settings.mtu = 1280;
  to.uplinks = {{"home-1", PublicKey(), 3}, {"home-2", PublicKey(), 4}};
  to.groups[0].uplinks = {"home-1"};
  to.groups.pop_back();
  to.mappings = {{On(80, 80), "a"},
                 {On(443, 443), "c"},
                 {On(53, 53, Protocol::kUdp), "a"}};
  CHECK(Print(Difference(from, to)) ==
        "mtu=1280 -home-0 +home-1#3 +home-2#4 -b +a(home-1) "
        "+[203.0.113.1 tcp/443]=c +[203.0.113.1 udp/53]=a ");
  CHECK(Print(Difference(from, EdgeState())) ==
        "mtu=0 -home-0 -home-1 -a -b -[203.0.113.1 tcp/80] "
        "-[203.0.113.1 tcp/443] ");
}

TEST_CASE("records: another range is another listener", "[records]") {
  EdgeState from;
  from.mappings = {{On(80, 80), "a"}};
  EdgeState to;
  to.mappings = {{On(80, 81), "a"}};
  CHECK(Print(Difference(from, to)) ==
        "-[203.0.113.1 tcp/80] +[203.0.113.1 tcp/80-81]=a ");
}

TEST_CASE("records: a delta with anything in it is not empty", "[records]") {
  CHECK(EdgeDelta().empty());
  CHECK_FALSE(EdgeDelta{.settings = Settings()}.empty());
  CHECK_FALSE(EdgeDelta{.removed_uplinks = {"a"}}.empty());
  CHECK_FALSE(EdgeDelta{.uplinks = {Uplink()}}.empty());
  CHECK_FALSE(EdgeDelta{.removed_groups = {"a"}}.empty());
  CHECK_FALSE(EdgeDelta{.groups = {Group()}}.empty());
  CHECK_FALSE(EdgeDelta{.removed_mappings = {Listener()}}.empty());
  CHECK_FALSE(EdgeDelta{.mappings = {Mapping()}}.empty());
}

TEST_CASE("records: a difference applied to its start gives its end",
          "[records]") {
  RandomStates states(4);
  std::mt19937 random(5);
  for (int round = 0; round < 500; ++round) {
    const EdgeState from = states.Next();
    const EdgeState to = states.Next();
    EdgeDelta delta = Difference(from, to);
    CHECK(delta.empty() == (from == to));

    EdgeState state = from;
    Apply(delta, state);
    CHECK(state == to);
    CHECK(Difference(state, to).empty());

    // The network keeps no promise about the order of lists.
    std::ranges::shuffle(delta.removed_uplinks, random);
    std::ranges::shuffle(delta.uplinks, random);
    std::ranges::shuffle(delta.removed_groups, random);
    std::ranges::shuffle(delta.groups, random);
    std::ranges::shuffle(delta.removed_mappings, random);
    std::ranges::shuffle(delta.mappings, random);
    EdgeState shuffled = from;
    Apply(delta, shuffled);
    CHECK(shuffled == to);
  }
}

TEST_CASE("records: a difference is as small as it can be", "[records]") {
  RandomStates states(6);
  for (int round = 0; round < 100; ++round) {
    const EdgeState from = states.Next();
    const EdgeState to = states.Next();
    const EdgeDelta delta = Difference(from, to);
    for (const Mapping& mapping : delta.mappings) {
      CHECK(std::ranges::find(from.mappings, mapping) == from.mappings.end());
      CHECK(std::ranges::find(delta.removed_mappings, mapping.listener) ==
            delta.removed_mappings.end());
    }
    for (const Group& group : delta.groups) {
      CHECK(std::ranges::find(from.groups, group) == from.groups.end());
    }
    for (const Uplink& uplink : delta.uplinks) {
      CHECK(std::ranges::find(from.uplinks, uplink) == from.uplinks.end());
    }
  }
}

TEST_CASE("records: applying removes first, bears unknown and double ones",
          "[records]") {
  EdgeState state = Example();
  Apply({.removed_uplinks = {"home-0", "home-0", "unknown"},
         .uplinks = {{"home-9", PublicKey(), 8},
                     {"home-0", PublicKey(), 5},
                     {"home-9", PublicKey(), 9}},
         .removed_mappings = {On(443, 443), On(1, 1)},
         .mappings = {{On(443, 443), "b"}, {On(443, 443), "a"}}},
        state);
  EdgeState wanted = Example();
  wanted.uplinks = {{"home-0", PublicKey(), 5},
                    {"home-1", PublicKey(), 2},
                    {"home-9", PublicKey(), 9}};
  CHECK(Print(Difference(wanted, state)) == "");
}

TEST_CASE("records: a group admits whom it allows and does not deny",
          "[records]") {
  const auto net = [](const char* text) { return *IpPrefix::Parse(text); };
  const auto admits = [](const Access& access, const char* client) {
    return access.Admits(*IpAddress::Parse(client));
  };
  CHECK(admits({}, "192.0.2.1"));
  const Access allowed{.allow = {net("192.0.2.0/24"), net("2001:db8::/32")}};
  CHECK(admits(allowed, "192.0.2.1"));
  CHECK(admits(allowed, "2001:db8::1"));
  CHECK(!admits(allowed, "192.0.3.1"));
  CHECK(!admits(allowed, "2001:db9::1"));
  const Access both{.allow = {net("192.0.2.0/24")},
                    .deny = {net("192.0.2.7/32")}};
  CHECK(admits(both, "192.0.2.6"));
  CHECK(!admits(both, "192.0.2.7"));
  CHECK(!admits(both, "2001:db8::1"));
  CHECK(both.ToString() == "192.0.2.0/24 not 192.0.2.7/32");
  CHECK(admits({.deny = {net("0.0.0.0/0")}}, "2001:db8::1"));

  Access many;
  for (uint32_t i = 0; i < 200; ++i) {
    many.allow.push_back(IpPrefix(IpAddress::FromIpv4(0x0a000000 + i * 512),
                                  24 + static_cast<int>(i % 3)));
  }
  many.allow.push_back(net("2001:db8::/32"));
  for (uint32_t i = 0; i < 100'000; i += 37) {
    const IpAddress client = IpAddress::FromIpv4(0x0a000000 + i);
    const bool contained = std::ranges::any_of(
        many.allow,
        [&client](const IpPrefix& prefix) { return prefix.Contains(client); });
    REQUIRE(many.Admits(client) == contained);
  }
  CHECK(admits(many, "2001:db8:ffff::1"));
  CHECK(!admits(many, "2001:db9::1"));
}

}  // namespace
}  // namespace edged::protocol
