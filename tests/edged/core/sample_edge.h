#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"

// Short ways to write an edge down in tests of edged/core: the one that the
// tests use has overlay network 10.200.0.0/22, public addresses 203.0.113.1
// (index 1) and 203.0.113.2 (index 2), uplinks a, b, c (blocks 1, 2, 3) and
// groups g1, g2 (all uplinks) of the two addresses.

namespace edged::edge {

inline IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

inline IpPrefix Net(std::string_view text) { return *IpPrefix::Parse(text); }

inline protocol::Listener At(std::string_view address, Protocol protocol,
                             uint16_t first, uint16_t last = 0) {
  return {Ip(address), protocol, {first, last == 0 ? first : last}};
}
inline protocol::Listener Tcp(uint16_t first, uint16_t last = 0) {
  return At("203.0.113.1", Protocol::kTcp, first, last);
}
inline protocol::Listener Udp(uint16_t first, uint16_t last = 0) {
  return At("203.0.113.1", Protocol::kUdp, first, last);
}

inline PublicKey Key(uint8_t number) {
  std::array<uint8_t, kKeySize> bytes{};
  bytes.fill(number);
  return PublicKey(bytes);
}

inline Limits SampleLimits() {
  return {.overlay = *protocol::Overlay::Create(Net("10.200.0.0/22")),
          .listen_port = 51820,
          .reserved = {{Protocol::kTcp, 22}}};
}

inline protocol::EdgeState SampleState() {
  protocol::EdgeState state;
  state.settings.public_addresses = {
      {.address = Ip("203.0.113.1"), .index = 1},
      {.address = Ip("203.0.113.2"), .index = 2}};
  state.uplinks = {{"a", Key(1), 1}, {"b", Key(2), 2}, {"c", Key(3), 3}};
  state.groups = {{.name = "g1",
                   .public_address = Ip("203.0.113.1"),
                   .uplinks = {"a", "b", "c"}},
                  {.name = "g2",
                   .public_address = Ip("203.0.113.2"),
                   .affinity = protocol::Affinity::kClientIp,
                   .uplinks = {"a", "b", "c"}}};
  return state;
}

// A model of `state`, which must be accepted whole.
inline EdgeModel ModelOf(const protocol::EdgeState& state,
                         const Limits& limits = SampleLimits()) {
  EdgeModel model;
  const auto judgement = model.JudgeSnapshot(state, limits);
  if (!judgement.ok() || !judgement->refusals.empty()) return model;
  model.Commit(judgement->accepted);
  return model;
}

inline HostFacts SampleFacts() {
  return {
      .limits = SampleLimits(),
      .nic_addresses = {{Ip("203.0.113.1"), {Ip("203.0.113.1"), "eth0", 2}},
                        {Ip("203.0.113.2"), {Ip("10.0.0.7"), "eth0", 2}}},
      .health = {
          {"a", Health::kAlive}, {"b", Health::kAlive}, {"c", Health::kAlive}}};
}

// The same edge with IPv6: network fd00:ed::/64, public address 2001:db8::1
// (index 1) and group g6 (all uplinks).
inline protocol::EdgeState DualState() {
  protocol::EdgeState state = SampleState();
  state.settings.network6 = Net("fd00:ed::/64");
  state.settings.public_addresses.push_back(
      {.address = Ip("2001:db8::1"), .index = 1});
  state.groups.push_back({.name = "g6",
                          .public_address = Ip("2001:db8::1"),
                          .uplinks = {"a", "b", "c"}});
  return state;
}

inline HostFacts DualFacts() {
  HostFacts facts = SampleFacts();
  facts.ipv6.overlay = *protocol::Overlay::Create(Net("fd00:ed::/64"));
  facts.nic_addresses[Ip("2001:db8::1")] = {Ip("2001:db8::1"), "eth0", 2};
  return facts;
}

inline protocol::Listener Tcp6(uint16_t first, uint16_t last = 0) {
  return At("2001:db8::1", Protocol::kTcp, first, last);
}
inline protocol::Listener Udp6(uint16_t first, uint16_t last = 0) {
  return At("2001:db8::1", Protocol::kUdp, first, last);
}

}  // namespace edged::edge
