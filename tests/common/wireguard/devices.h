#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "common/keys.h"
#include "common/wireguard/device.h"

// Keys, prefixes and devices that the tests of this folder share.

namespace edged::wireguard {

// A key of 32 equal bytes: Key(1) < Key(2).
inline PublicKey Key(uint8_t byte) {
  std::array<uint8_t, kKeySize> bytes;
  bytes.fill(byte);
  return PublicKey(bytes);
}

inline PrivateKey Secret(uint8_t byte) {
  std::array<uint8_t, kKeySize> bytes;
  bytes.fill(byte);
  return PrivateKey(bytes);
}

inline IpPrefix Prefix(std::string_view text) {
  return IpPrefix::Parse(text).value();
}

inline std::vector<IpPrefix> Prefixes(
    std::initializer_list<std::string_view> texts) {
  std::vector<IpPrefix> prefixes;
  for (std::string_view text : texts) prefixes.push_back(Prefix(text));
  return prefixes;
}

inline SocketAddress Endpoint(std::string_view text) {
  return SocketAddress::Parse(text).value();
}

// A device that shows every field, IPv4 and IPv6.
inline Device FullDevice() {
  using std::chrono::nanoseconds;
  using std::chrono::system_clock;
  Device device{.name = "edged0",
                .private_key = Secret(0x40),
                .public_key = Secret(0x40).Public(),
                .listen_port = 51820,
                .fwmark = 0xed};
  device.peers.push_back(
      {.key = Key(1),
       .endpoint = Endpoint("192.0.2.7:1024"),
       .allowed_ips = Prefixes({"10.200.0.16/28", "fd00::10/124"}),
       .keepalive_seconds = 25,
       .last_handshake = system_clock::time_point(
           std::chrono::duration_cast<system_clock::duration>(
               nanoseconds(1'700'000'000'123'456'789))),
       .received_bytes = 5'000'000'000,
       .sent_bytes = 7});
  device.peers.push_back({.key = Key(2),
                          .endpoint = Endpoint("[2001:db8::1]:51821"),
                          .allowed_ips = Prefixes({"0.0.0.0/0", "::/0"})});
  device.peers.push_back({.key = Key(3)});
  return device;
}

}  // namespace edged::wireguard
