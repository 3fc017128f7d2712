#include "common/protocol/tunnel_mtu.h"

#include <catch2/catch.hpp>

namespace edged::protocol {
namespace {

TEST_CASE("tunnel_mtu: less by 60 over IPv4, by 80 over IPv6 or who knows what",
          "[tunnel_mtu]") {
  CHECK(TunnelMtu(1500, Family::kIpv4) == 1440);
  CHECK(TunnelMtu(1500, Family::kIpv6) == 1420);
  CHECK(TunnelMtu(1500, std::nullopt) == 1420);
  CHECK(TunnelMtu(9000, Family::kIpv4) == 8940);
  CHECK(TunnelMtu(1280, Family::kIpv4) == 1220);
}

TEST_CASE("tunnel_mtu: stays within what IP knows", "[tunnel_mtu]") {
  CHECK(TunnelMtu(0, Family::kIpv4) == 576);
  CHECK(TunnelMtu(600, Family::kIpv6) == 576);
  CHECK(TunnelMtu(65536, Family::kIpv4) == 65475);  // lo
  CHECK(TunnelMtu(UINT32_MAX, std::nullopt) == 65455);
}

TEST_CASE("tunnel_mtu: a device that carries IPv6 has 1280 at least",
          "[tunnel_mtu]") {
  CHECK(DeviceMtu(1220, true) == 1280);
  CHECK(DeviceMtu(1220, false) == 1220);
  CHECK(DeviceMtu(1440, true) == 1440);
}

}  // namespace
}  // namespace edged::protocol
