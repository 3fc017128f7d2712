#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/keys.h"
#include "common/net_types.h"

// What an agent wants of an edge, as plain values: the records that Sync
// carries, that the state file keeps and that the digest covers.

namespace edged::protocol {

// An address of the edge that mappings listen on.
struct PublicAddress {
  IpAddress address;
  std::string interface;                 // empty: whichever has it
  std::optional<IpAddress> nic_address;  // unset: auto, the edge finds it
  uint32_t index = 0;  // of the mapping address in every uplink's block, from 1
  auto operator<=>(const PublicAddress&) const = default;
};

struct Settings {
  std::vector<PublicAddress> public_addresses;  // sorted by address
  uint32_t mtu = 0;                             // of the tunnel; 0: auto
  std::chrono::milliseconds heartbeat_interval{250};
  uint32_t unhealthy_threshold = 3;  // missed heartbeats
  // The IPv6 overlay network beside the IPv4 one of the enrolment; unset: this
  // edge carries no IPv6.
  std::optional<IpPrefix> network6;
  bool operator==(const Settings&) const = default;
};

// One clusteragent replica, as this edge sees it.
struct Uplink {
  std::string name;
  PublicKey key;
  uint32_t block = 0;  // of the overlay network, 1 to 63
  auto operator<=>(const Uplink&) const = default;
};

enum class Affinity : uint8_t { kNone, kClientIp };

// How long the kernel keeps a connection that is idle; 0: as the host's
// settings say. In the range of IsTimeout().
struct Timeouts {
  std::chrono::seconds tcp_idle{0};
  std::chrono::seconds udp_session{0};

  std::chrono::seconds Of(Protocol protocol) const {
    return protocol == Protocol::kTcp ? tcp_idle : udp_session;
  }
  bool empty() const { return *this == Timeouts(); }
  auto operator<=>(const Timeouts&) const = default;
};

// The kernel counts in 32 bits of 1/1000 s, with a sign.
inline constexpr std::chrono::seconds kMostTimeout =
    std::chrono::hours(24 * 24);
constexpr bool IsTimeout(std::chrono::seconds value) {
  return value.count() >= 1 && value <= kMostTimeout;
}

// Whose connections are taken: those of `allow`, or of everybody where it is
// empty, but for those of `deny`. Prefixes of both families may stand in one
// list; where `allow` has none of a client's family, no such client is taken.
struct Access {
  std::vector<IpPrefix> allow;  // sorted, each once
  std::vector<IpPrefix> deny;   // likewise

  bool Admits(const IpAddress& client) const;
  bool empty() const { return allow.empty() && deny.empty(); }
  std::string ToString() const;  // "192.0.2.0/24 10.0.0.0/8 not 192.0.2.7/32"
  auto operator<=>(const Access&) const = default;
};
// Of one list; the kernel's sets of ranges are not made for more.
inline constexpr size_t kMostPrefixes = 1'024;
// What an edge that knows it says in Welcome.
inline constexpr char kAccessFeature[] = "access";

// What mappings point to: a public address and the uplinks behind it. The name
// is made of the definition (public address, selector, affinity, timeouts,
// access, the target of holders), never of the members, which come and go.
struct Group {
  std::string name;
  IpAddress public_address;
  Affinity affinity = Affinity::kNone;
  std::vector<std::string> uplinks;  // names, sorted
  Timeouts timeouts;
  Access access;
  auto operator<=>(const Group&) const = default;
};

// A listener: what must be unique on an edge.
struct Listener {
  IpAddress public_address;
  Protocol protocol = Protocol::kTcp;
  PortRange ports;

  bool Overlaps(const Listener& other) const {
    return public_address == other.public_address &&
           protocol == other.protocol && ports.Overlaps(other.ports);
  }
  std::string ToString() const;  // "203.0.113.1 tcp/443"
  auto operator<=>(const Listener&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const Listener& listener) {
    return H::combine(std::move(state), listener.public_address,
                      listener.protocol, listener.ports);
  }
};

struct Mapping {
  Listener listener;
  std::string group;
  auto operator<=>(const Mapping&) const = default;
};

// Everything one edge should be.
struct EdgeState {
  Settings settings;
  std::vector<Uplink> uplinks;    // sorted by name
  std::vector<Group> groups;      // sorted by name
  std::vector<Mapping> mappings;  // sorted by listener
  bool operator==(const EdgeState&) const = default;
};

// A change from one version to the next: removals first, then upserts.
struct EdgeDelta {
  std::optional<Settings> settings;
  std::vector<std::string> removed_uplinks;
  std::vector<Uplink> uplinks;
  std::vector<std::string> removed_groups;
  std::vector<Group> groups;
  std::vector<Listener> removed_mappings;
  std::vector<Mapping> mappings;

  bool empty() const;
  bool operator==(const EdgeDelta&) const = default;
};

// The delta that turns `from` into `to`. Pure.
EdgeDelta Difference(const EdgeState& from, const EdgeState& to);

// Turns `state` into the next version. The delta may come from the network: its
// lists need no order, unknown removals are fine, and of two upserts with one
// key the later one counts. `state` stays sorted.
void Apply(const EdgeDelta& delta, EdgeState& state);

}  // namespace edged::protocol
