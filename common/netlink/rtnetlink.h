#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/netlink/socket.h"

// Links, addresses, routes, rules and per-device settings through rtnetlink.

namespace edged::netlink {

// Who made a route or a rule: ours are found again by this number. Addresses
// carry it too (IFA_PROTO, Linux 5.18), for people to see.
inline constexpr uint8_t kRouteProtocol = 0xed;

// What the kernel makes of an IPv6 route's metric of 0 (IP6_RT_PRIO_USER).
inline constexpr uint32_t kIpv6Metric = 1024;

// Per-device IPv4 settings, as in /proc/sys/net/ipv4/conf/DEVICE.
struct Ipv4Conf {
  bool forwarding = false;
  int rp_filter = 0;  // 0 off, 1 strict, 2 loose
  auto operator<=>(const Ipv4Conf&) const = default;
};

// What a device does with IPv6. There is no way to set it through rtnetlink
// (6.18); see ipv6_settings.h.
struct Ipv6Conf {
  // Off by disable_ipv6, without IPv6 in the kernel, and with an MTU below
  // 1280.
  bool enabled = false;
  // The device forwards what comes in by it though all.forwarding is off. Unset
  // where the kernel does not know it (before 6.17).
  std::optional<bool> force_forwarding;
  auto operator<=>(const Ipv6Conf&) const = default;
};

struct Link {
  int index = 0;
  std::string name;
  std::string kind;  // "wireguard", "tun", "veth"; empty for hardware
  uint32_t mtu = 0;
  bool up = false;  // IFF_UP
  bool loopback = false;
  bool multicast = false;
  Ipv4Conf ipv4;
  Ipv6Conf ipv6;
  bool operator==(const Link&) const = default;
};

struct Address {
  int link = 0;  // interface index
  IpAddress address;
  int prefix_length = 0;
  uint8_t scope = 0;   // RT_SCOPE_UNIVERSE = global
  uint32_t flags = 0;  // IFA_F_*
  auto operator<=>(const Address&) const = default;
};

// What becomes of packets that a route takes.
enum class RouteKind : uint8_t {
  kUnicast,
  kBlackhole,    // dropped in silence
  kUnreachable,  // refused
  kProhibit,     // refused
  kThrow,        // the table is left as if it had no route
};
std::string_view ToString(RouteKind kind);  // as `ip route` has it

// An unset `link` or `gateway` means none.
struct Route {
  RouteKind kind = RouteKind::kUnicast;
  IpPrefix destination;
  int link = 0;
  std::optional<IpAddress> gateway;
  // The gateway is a neighbour though no other route says so.
  bool onlink = false;
  std::optional<IpAddress> source;  // preferred source address
  uint32_t table = 254;             // RT_TABLE_MAIN
  uint8_t protocol = kRouteProtocol;
  uint32_t priority = 0;  // metric; of IPv6 never 0 (kIpv6Metric)
  // What it is limited to (RTAX_MTU); 0: the link's. Of our IPv6 routes it is
  // locked, else what is forwarded would not heed it.
  uint32_t mtu = 0;
  auto operator<=>(const Route&) const = default;
};

// Who was heard of on a link, and is believed to be there: entries of ARP and
// of IPv6 neighbour discovery.
struct Neighbour {
  int link = 0;  // interface index
  IpAddress address;
  std::string mac;      // the bytes of its link-layer address
  bool router = false;  // it said so itself; IPv6 only
  auto operator<=>(const Neighbour&) const = default;
};

// "from all fwmark MARK/MASK lookup TABLE" at `priority`.
struct Rule {
  Family family = Family::kIpv4;
  uint32_t priority = 0;
  uint32_t mark = 0;
  uint32_t mask = 0;
  uint32_t table = 0;
  uint8_t protocol = kRouteProtocol;
  auto operator<=>(const Rule&) const = default;
};

// A rule of any kind, for people and for a look at who comes first.
struct PolicyRule {
  Family family = Family::kIpv4;
  uint32_t priority = 0;
  uint32_t table = 0;    // 0: it leads to none
  uint8_t protocol = 0;  // RTPROT_*
  bool refuses = false;  // blackhole, unreachable or prohibit
  std::optional<IpPrefix> source;
  std::optional<IpPrefix> destination;
  std::string in;             // interface
  std::string text;           // "from 198.51.100.0/24 iif eth0 lookup 100"
  std::optional<Rule> plain;  // when Rule can say all of it
  bool operator==(const PolicyRule&) const = default;
};

// What ICMP errors told of the way to one destination.
struct LearnedMtu {
  uint32_t mtu = 0;
  std::chrono::seconds expires{};  // from now
  bool operator==(const LearnedMtu&) const = default;
};

// A packet in search of its route.
struct RouteQuestion {
  IpAddress destination;
  // Both or none: it comes in by that link. Else it is made here.
  int in = 0;
  std::optional<IpAddress> source;
};

// Writes are idempotent: adding what is there, or removing what is not, is OK.
// Errors name the object and carry the kernel's extended ack.
class Rtnetlink {
 public:
  static absl::StatusOr<Rtnetlink> Open();

  absl::StatusOr<std::vector<Link>> ListLinks();
  // NotFound when there is none of that name.
  absl::StatusOr<Link> GetLink(const std::string& name);
  absl::StatusOr<std::vector<Address>> ListAddresses();
  // Without those that are looked for, or did not answer.
  absl::StatusOr<std::vector<Neighbour>> ListNeighbours();
  // Unicast routes, and those that refuse, of all tables and both families; the
  // caller filters.
  absl::StatusOr<std::vector<Route>> ListRoutes();
  // Plain fwmark rules of both families, and "from all" (mask 0); those that
  // select by anything else are left out.
  absl::StatusOr<std::vector<Rule>> ListRules();
  // All of them, by family and priority.
  absl::StatusOr<std::vector<PolicyRule>> ListPolicyRules();
  // The namespace-wide setting: net.ipv4.ip_forward, which single devices may
  // differ from, or net.ipv6.conf.all.forwarding, which they may not. False
  // where there is no IPv6.
  absl::StatusOr<bool> ForwardingEverywhere(Family family);
  // The route the kernel would take to `destination` now, as a route to that
  // address alone, with the source it would choose. Its MTU is the route's, not
  // one that ICMP errors told of. NotFound: there is none, or one that refuses.
  absl::StatusOr<Route> RouteTo(const IpAddress& destination);

  // The route in its table that a packet would take now. NotFound: none, or one
  // that refuses.
  absl::StatusOr<Route> Match(const RouteQuestion& question);

  // Unset: nothing was told, or it is forgotten.
  absl::StatusOr<std::optional<LearnedMtu>> LearnedMtuTo(
      const IpAddress& destination);

  // Makes a link without further attributes, for example of kind "wireguard".
  // Unimplemented when the kernel does not know the kind, AlreadyExists when
  // there is one of that name and another kind.
  absl::Status CreateLink(const std::string& name, const std::string& kind);
  absl::Status DeleteLink(const std::string& name);
  absl::Status SetLink(int index, bool up, uint32_t mtu);  // mtu 0: as it is
  // Through IFLA_AF_SPEC, so CAP_NET_ADMIN is enough and /proc may be
  // read-only.
  absl::Status SetIpv4Conf(int index, const Ipv4Conf& conf);

  absl::Status AddAddress(const Address& address);
  absl::Status RemoveAddress(const Address& address);
  absl::Status ReplaceRoute(const Route& route);
  absl::Status RemoveRoute(const Route& route);
  absl::Status AddRule(const Rule& rule);
  absl::Status RemoveRule(const Rule& rule);

  Socket& socket() { return socket_; }

 private:
  explicit Rtnetlink(Socket socket);
  // A failed `status` with the link's name before it.
  absl::Status OnLink(int index, absl::Status status);

  Socket socket_;
};

}  // namespace edged::netlink
