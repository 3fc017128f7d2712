#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clusteragent/core/conntrack_plan.h"
#include "clusteragent/core/mark_mask.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/uplink_table.h"
#include "common/keys.h"
#include "common/net_types.h"
#include "common/netlink/route_events.h"
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
// Where the main table has no default route: what this host answers must be
// routed somewhere before its mark routes it (uplink_table.h).
inline constexpr uint32_t kFallbackPriority = 40'000;
inline constexpr uint32_t kFallbackTable = kPolicyTableBase;

// What reaches one edge, known to the shell.
struct EdgeAccess {
  PrivateKey own_key;                 // of this uplink for this edge
  std::optional<PublicKey> edge_key;  // unset: not enrolled, no device
  // The edge may have this key instead: its peer is there without allowed ips,
  // and shakes hands to find out when `seek_other`.
  std::optional<PublicKey> other_edge_key;
  bool seek_other = false;
  std::optional<SocketAddress> endpoint;  // unset: not resolved yet
  // Of the link and the route to the endpoint; 0: there is none now.
  uint32_t underlay_mtu = 0;
  // The largest packet that comes through the tunnel; 0: not known.
  uint32_t path_mtu = 0;
};

// A link of this host over which targets of a family are reached.
struct TargetLink {
  Family family = Family::kIpv4;
  std::string name;
  // As they are now.
  netlink::Ipv4Conf conf;
  netlink::Ipv6Conf ipv6;
};

// A link whose forwarding of a family is on only because of us.
struct SwitchedLink {
  std::string name;
  Family family = Family::kIpv4;
  auto operator<=>(const SwitchedLink&) const = default;
};

// What this host does with IPv6.
struct UplinkIpv6 {
  bool carried = false;                // the kernel has it, and it is on
  bool forwarding_everywhere = false;  // net.ipv6.conf.all.forwarding
  bool may_switch = false;  // we may write force_forwarding of a device
};

struct UplinkInput {
  std::string uplink;                        // own name
  std::map<std::string, EdgeAccess> access;  // by EdgeNode name
  std::vector<TargetLink> target_links;      // sorted by family, name
  // Those that an earlier plan switched to forwarding, as they are now.
  std::vector<TargetLink> switched_links;
  bool forwarding_everywhere = false;  // net.ipv4.ip_forward
  UplinkIpv6 ipv6;
  std::set<Family> without_default;        // families without a default route
  std::vector<IpAddress> local_addresses;  // of this host
  uint32_t mark_mask = 0xff;
  uint32_t user = 0;          // as whom this agent runs
  bool has_timeouts = false;  // the kernel keeps them for single connections
};

// Addresses and routes have link 0: the shell puts the device's index there.
struct UplinkDevice {
  std::string edge;             // EdgeNode name
  wireguard::Device wireguard;  // its name is the device's
  uint32_t mtu = 0;             // of the device itself
  uint32_t own_mtu = 0;  // what this host's links leave, or the EdgeNode says
  netlink::Ipv4Conf conf;
  bool force_ipv6_forwarding = false;
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  bool operator==(const UplinkDevice&) const = default;
};

// The forwarding of one family; of IPv6 it is force_forwarding.
struct LinkConf {
  SwitchedLink link;
  bool forwarding = false;
  bool operator==(const LinkConf&) const = default;
};

struct UplinkPlan {
  std::vector<UplinkDevice> devices;  // sorted by edge
  std::vector<netlink::Rule> rules;
  // Target links that must forward and do not, and links that were switched to
  // forwarding and lead to no target any more.
  std::vector<LinkConf> links;
  nftables::Table table;
  FlowTargets flows;
  bool operator==(const UplinkPlan&) const = default;
};

// What happened to our devices, which are there by these names and indexes, to
// our routes and rules; everything else is beside us, or takes a new plan.
bool ConcernsUplink(const netlink::RouteEvent& event, const UplinkPlan& plan,
                    const std::map<std::string, int>& devices);

// "eu-" and 8 hexadecimal digits of a hash of the EdgeNode's uid (or, where it
// has none, its name) and the uplink's name: the device survives its process.
std::string DeviceName(const EdgePlan& edge, const std::string& uplink);

// Edges without access, without a known key or without a block of ours are left
// out. InvalidArgument for a mark mask that is none or too small for an edge's
// number.
absl::StatusOr<UplinkPlan> MakeUplinkPlan(const Plan& plan,
                                          const UplinkInput& input);

// What the table translates for one edge; unset: nothing, it has no device.
absl::StatusOr<std::optional<TunnelOfEdge>> MakeTunnelOfEdge(
    const EdgePlan& edge, const UplinkInput& input);

// The device that introduces this agent to an edge which does not know its own
// key yet: named "ec-...", it holds the control address and reaches nothing but
// the edge's API address.
absl::StatusOr<UplinkDevice> MakeControlDevice(const EdgePlan& edge,
                                               const EdgeAccess& access,
                                               const PrivateKey& control_key,
                                               const std::string& uplink);

}  // namespace edged::agent
