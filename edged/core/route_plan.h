#pragma once

#include <linux/rtnetlink.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/netlink/rtnetlink.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"

// Addresses, routes and per-device settings of the edge. Pure.

namespace edged::edge {

// What rtnetlink listed.
struct ObservedRoutes {
  std::vector<netlink::Link> links;
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;  // those of arrival_ways.h
  // Only where arrival_ways.h asks for them.
  std::vector<netlink::Neighbour> neighbours;
  // Those that rules lead anybody's packets to before the main table.
  std::set<uint32_t> early_tables;
  // Tables that rules lead to, whoever made them.
  std::set<uint32_t> tables{RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT};
};

struct LinkChange {
  int link = 0;
  bool up = true;
  uint32_t mtu = 0;
  bool operator==(const LinkChange&) const = default;
};

struct ConfChange {
  int link = 0;
  std::string interface;
  netlink::Ipv4Conf conf;
  bool operator==(const ConfChange&) const = default;
};

struct Ipv6ConfChange {
  std::string interface;
  bool force_forwarding = false;
  bool operator==(const Ipv6ConfChange&) const = default;
};

// What to do, in this order.
struct RouteChange {
  std::optional<LinkChange> device;  // the tunnel device itself
  std::vector<netlink::Address> added_addresses;
  std::vector<netlink::Address> removed_addresses;
  std::vector<netlink::Route> removed_routes;
  std::vector<netlink::Route> replaced_routes;
  std::vector<netlink::Rule> added_rules;
  std::vector<netlink::Rule> removed_rules;
  std::vector<ConfChange> confs;
  std::vector<Ipv6ConfChange> ipv6_confs;

  bool empty() const;
  // One line for each ("+ route 10.200.0.16/28 dev edged0").
  std::string ToString(const std::string& device) const;
  bool operator==(const RouteChange&) const = default;
};

// The difference between what is there and what should be: the edge's addresses
// on the tunnel device, one route for each uplink's block, limited to what the
// way to it carries (HostFacts::MtuOf), one for the control address, and those
// of arrival_ways.h with their rules; forwarding on the tunnel device and the
// public interfaces (of IPv6 only where we may write it and the whole host does
// not forward), loose rp_filter on the tunnel device, and where strict is set
// on public interfaces of which there are several, or that the default route
// does not leave by. Removes only routes with our
// protocol number and global addresses of our own device; switches forwarding
// off again where we switched it on and no public address is left.
// FailedPrecondition when the device is missing.
absl::StatusOr<RouteChange> PlanRoutes(const EdgeModel& model,
                                       const HostFacts& facts,
                                       const ObservedRoutes& observed);

// Takes the routes and rules of arrival_ways.h away; what is on the tunnel
// device goes with it.
RouteChange RemovalOfWays(const ObservedRoutes& observed);

// Public interfaces whose forwarding we must switch on, or did before
// (`previous`, from the last call or readback.h): while ip_forward is 0 they
// are guarded by the table. To be put into HostFacts, and the table applied,
// before the RouteChange is.
std::set<std::string> SwitchedInterfaces(
    const HostFacts& facts, const std::vector<netlink::Link>& links,
    const std::set<std::string>& previous);
// The same for IPv6. Nothing but edged is known to set force_forwarding, so
// every public interface that has it is guarded.
std::set<std::string> SwitchedInterfaces6(
    const HostFacts& facts, const std::vector<netlink::Link>& links,
    const std::set<std::string>& previous);

}  // namespace edged::edge
