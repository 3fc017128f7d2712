#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clusteragent/core/mark_mask.h"
#include "clusteragent/core/planner.h"
#include "common/keys.h"
#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/ruleset.h"
#include "common/wireguard/device.h"

// What the network namespace of this uplink must hold: one device per edge, its
// policy table, and one nftables table. Pure.

namespace edged::agent {

inline constexpr char kUplinkTable[] = "clusteragent";  // inet
// The policy table of edge n is kPolicyTableBase + n: clear of the kernel's own
// 253-255 and of small numbers that people use.
inline constexpr uint32_t kPolicyTableBase = 0xed00;
inline constexpr uint32_t kRulePriority = 100;

// What reaches one edge, known to the shell.
struct EdgeAccess {
  PrivateKey own_key;                     // of this uplink for this edge
  std::optional<PublicKey> edge_key;      // unset: not enrolled, no device
  std::optional<SocketAddress> endpoint;  // unset: not resolved yet
  uint32_t underlay_mtu = 1500;           // of the link to the endpoint
};

// A link of this host over which targets are reached.
struct TargetLink {
  std::string name;
  netlink::Ipv4Conf conf;  // as it is now
};

struct UplinkInput {
  std::string uplink;                        // own name
  std::map<std::string, EdgeAccess> access;  // by EdgeNode name
  std::vector<TargetLink> target_links;      // sorted by name
  // Those that an earlier plan switched to forwarding, as they are now.
  std::vector<TargetLink> switched_links;
  bool forwarding_everywhere = false;  // net.ipv4.ip_forward
  uint32_t mark_mask = 0xff;
};

// Addresses and routes have link 0: the shell puts the device's index there.
struct UplinkDevice {
  std::string edge;             // EdgeNode name
  wireguard::Device wireguard;  // its name is the device's
  uint32_t mtu = 0;
  netlink::Ipv4Conf conf;
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  bool operator==(const UplinkDevice&) const = default;
};

struct LinkConf {
  std::string link;
  netlink::Ipv4Conf conf;
  bool operator==(const LinkConf&) const = default;
};

struct UplinkPlan {
  std::vector<UplinkDevice> devices;  // sorted by edge
  std::vector<netlink::Rule> rules;
  // Target links that must forward and do not, and links that were switched to
  // forwarding and lead to no target any more.
  std::vector<LinkConf> links;
  nftables::Table table;
  bool operator==(const UplinkPlan&) const = default;
};

// "eu-" and 8 hexadecimal digits of a hash of the EdgeNode's uid (or, where it
// has none, its name) and the uplink's name: the device survives its process.
std::string DeviceName(const EdgePlan& edge, const std::string& uplink);

// Edges without access, without a known key or without a block of ours are left
// out. InvalidArgument for a mark mask that is none or too small for an edge's
// number.
absl::StatusOr<UplinkPlan> MakeUplinkPlan(const Plan& plan,
                                          const UplinkInput& input);

// The device that introduces this agent to an edge which does not know its own
// key yet: named "ec-...", it holds the control address and reaches nothing but
// the edge's API address.
absl::StatusOr<UplinkDevice> MakeControlDevice(const EdgePlan& edge,
                                               const EdgeAccess& access,
                                               const PrivateKey& control_key,
                                               const std::string& uplink);

}  // namespace edged::agent
