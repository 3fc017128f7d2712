#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/records.h"
#include "edged/core/limits.h"
#include "edged/core/nic_address.h"

namespace edged::edge {

enum class Health : uint8_t {
  kDead,      // never heard, silent for too long, or not ready
  kSuspect,   // silent: used only by groups with nobody alive
  kDraining,  // keeps its flows, gets no new ones
  kAlive,
};
std::string_view ToString(Health health);  // "dead", "suspect", ...

using UplinkHealth = std::map<std::string, Health>;  // absent: dead
Health HealthOf(const UplinkHealth& health, const std::string& uplink);
// For each uplink of `group` whether it gets new connections: those alive, or,
// when nobody is, those that are suspect.
std::vector<bool> ServingOf(const protocol::Group& group,
                            const UplinkHealth& health);

// What planning needs to know of this host, as observed.
struct HostFacts {
  Limits limits;  // overlay network, listen port, reserved ports
  std::string device = "edged0";
  NicAddresses nic_addresses;  // those that were resolved
  UplinkHealth health;
  bool forwarding_everywhere = true;  // net.ipv4.ip_forward
  // Public interfaces whose forwarding is on only because we switched it on
  // (route_plan.h): from these only our tunnel may be reached.
  std::set<std::string> switched_interfaces;
  uint32_t mtu = 1420;  // of the tunnel device
};

}  // namespace edged::edge
