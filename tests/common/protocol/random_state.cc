#include "tests/common/protocol/random_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>

namespace edged::protocol {

IpAddress RandomStates::Address() {
  if (Number(3) > 0) return IpAddress::FromIpv4(0xcb007101 + Number(2));
  std::array<uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8};
  bytes[15] = static_cast<uint8_t>(1 + Number(2));
  return IpAddress::FromBytes(bytes);
}

EdgeState RandomStates::Next() {
  EdgeState state;
  Settings& settings = state.settings;
  std::map<IpAddress, PublicAddress> addresses;
  for (uint32_t i = Number(3); i > 0; --i) {
    PublicAddress address{.address = Address(), .index = 1 + Number(14)};
    if (Number(1) == 0) address.interface = fmt::format("eth{}", Number(1));
    if (Number(1) == 0) address.nic_address = Address();
    addresses.emplace(address.address, address);
  }
  for (const auto& [key, address] : addresses) {
    settings.public_addresses.push_back(address);
  }
  settings.mtu = Number(1) * 1280;
  settings.heartbeat_interval = std::chrono::milliseconds(250 + Number(1));
  settings.unhealthy_threshold = 3 + Number(1);
  if (Number(1) == 0) settings.network6 = IpPrefix(Address(), 64);

  for (int i = 0; i < 6; ++i) {
    if (Number(2) == 0) continue;
    std::array<uint8_t, kKeySize> key{};
    key[0] = static_cast<uint8_t>(Number(3));
    state.uplinks.push_back({.name = fmt::format("uplink-{}", i),
                             .key = PublicKey(key),
                             .block = 1 + Number(62)});
  }
  for (int i = 0; i < 8; ++i) {
    if (Number(2) == 0) continue;
    Group group{.name = fmt::format("group-{}", i),
                .public_address = Address(),
                .affinity = static_cast<Affinity>(Number(1))};
    for (const Uplink& uplink : state.uplinks) {
      if (Number(1) == 0) group.uplinks.push_back(uplink.name);
    }
    // No draws beside those before: seeds of other tests keep their states.
    if (i % 4 == 1) group.timeouts.tcp_idle = std::chrono::seconds(3600);
    if (i % 4 == 2) group.timeouts.udp_session = std::chrono::seconds(i);
    const IpAddress address = group.public_address;
    if (i % 3 == 1) group.access.allow = {IpPrefix(address, 8)};
    if (i % 3 != 0) group.access.deny = {IpPrefix(address, 20 + i)};
    state.groups.push_back(std::move(group));
  }
  std::map<Listener, Mapping> mappings;
  for (uint32_t i = Number(40); i > 0; --i) {
    const auto first = static_cast<uint16_t>(1 + Number(30));
    const Listener listener{
        .public_address = Address(),
        .protocol = Number(1) == 0 ? Protocol::kTcp : Protocol::kUdp,
        .ports = {first, static_cast<uint16_t>(first + Number(2) / 2)}};
    mappings[listener] = {listener, fmt::format("group-{}", Number(7))};
  }
  for (const auto& [listener, mapping] : mappings) {
    state.mappings.push_back(mapping);
  }
  return state;
}

}  // namespace edged::protocol
