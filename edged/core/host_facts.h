#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// The way that the tunnel's packets take to one uplink.
struct Underlay {
  IpAddress endpoint;
  int link = 0;
  auto operator<=>(const Underlay&) const = default;
};

// A public address at an interface: what its packets are sent to, and its
// number in every uplink's block.
struct ArrivalAddress {
  IpAddress nic;
  uint32_t index = 0;
  bool operator==(const ArrivalAddress&) const = default;
};

// An interface whose answers need a way of their own (arrival_ways.h).
struct ArrivalWay {
  std::string interface;
  int link = 0;                           // interface index
  uint8_t number = 0;                     // 1 to 255
  std::vector<ArrivalAddress> addresses;  // which are on it
  // It is a router's: of its many routes those to neighbours alone are copied.
  bool neighbours_only = false;
  bool operator==(const ArrivalWay&) const = default;
};

// A public address on such an interface whose gateway no route names.
struct UnnamedGateway {
  IpAddress address;  // public
  std::string interface;
  // Who is taken for it: its only neighbour, who brought what came from afar.
  std::optional<IpAddress> neighbour;
  std::string default_interface;  // without it answers leave by this one
  bool operator==(const UnnamedGateway&) const = default;
};

struct Arrivals {
  std::vector<ArrivalWay> ways;
  std::vector<UnnamedGateway> unnamed;
  // Interfaces that lead everywhere: of these ways, and of the default routes
  // beside them.
  std::vector<std::string> exits;
  // Of each interface that has or had a way, since connections carry it.
  std::map<std::string, uint8_t> numbers;
  bool operator==(const Arrivals&) const = default;
};

// What planning needs to know of this host, as observed.
struct HostFacts {
  Limits limits;  // overlay network, listen port, reserved ports
  std::string device = "edged0";
  NicAddresses nic_addresses;  // those that were resolved
  UplinkHealth health;
  Arrivals arrivals;
  std::string ways_trouble;  // why not all of them are made; empty: they are
  // net.ipv4.ip_forward, and net.ipv6.conf.all.forwarding for `ipv6`.
  bool forwarding_everywhere = true;
  // Public interfaces whose forwarding is on only because we switched it on
  // (route_plan.h): from these only our tunnel may be reached.
  std::set<std::string> switched_interfaces;
  uint32_t mtu = 1420;  // of the tunnel device
  // The largest packet that this host sends by the tunnel: what its links leave
  // (underlay.h), or what the settings say.
  uint32_t own_mtu = 1420;
  // The largest that comes through whole, as each uplink has found out.
  std::map<std::string, uint32_t> uplink_mtus;
  std::vector<Underlay> underlay;  // sorted
  // Why this kernel keeps no timeouts of single groups; empty: it does.
  std::string no_timeouts;

  struct Ipv6 {
    // Unset: this edge carries no IPv6 (ipv6_support.h).
    std::optional<protocol::Overlay> overlay;
    bool forwarding_everywhere = true;
    // all.forwarding is on only because `edged prepare` switched it on: no
    // interface may forward but to and from the tunnel.
    bool prepared = false;
    std::set<std::string> switched_interfaces;
    // We may write net.ipv6.conf.*.force_forwarding (Linux 6.17).
    bool may_switch = false;
    bool operator==(const Ipv6&) const = default;
  };
  Ipv6 ipv6;

  // nullptr for IPv6 when this edge carries none.
  const protocol::Overlay* OverlayOf(Family family) const;
  std::vector<Family> families() const;  // carried; IPv4 first
  // The largest packet to and from `uplink`.
  uint32_t MtuOf(const std::string& uplink) const;
};

}  // namespace edged::edge
