#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/cluster.h"
#include "clusteragent/core/object_meta.h"
#include "common/net_types.h"
#include "common/protocol/overlay.h"

// The objects of edged.dev/v1alpha1 as plain values, however they were read.
// What an EdgeNode says has been checked when it was read; what a binding says
// stands as written and is judged by validate.h, so that one wrong binding
// never refuses its object.

namespace edged::agent {

inline constexpr char kApiVersion[] = "edged.dev/v1alpha1";

enum class Kind : uint8_t { kEdgeNode, kPortBinding, kService };
std::string_view ToString(Kind kind);  // "EdgeNode", "PortBinding"

// Which object: unique in a world.
struct ObjectKey {
  Kind kind = Kind::kEdgeNode;
  std::string name_space;  // empty for an EdgeNode
  std::string name;
  std::string ToString() const;  // "PortBinding default/web", "EdgeNode vps"
  auto operator<=>(const ObjectKey&) const = default;
};

// Who wins where two objects want the same: the one created first, one with a
// time before one without, then by namespace and name. A total order.
bool IsOlder(const ObjectMeta& a, const ObjectMeta& b);

// All of `match_labels`; an empty selector matches everything.
struct Selector {
  Labels match_labels;
  bool Matches(const Labels& labels) const;
  std::string ToString() const;  // "region=eu,tier=front"
  bool operator==(const Selector&) const = default;
};

struct PublicIp {
  IpAddress address;
  std::string interface;                 // empty: whichever has it
  std::optional<IpAddress> nic_address;  // unset: auto
  bool operator==(const PublicIp&) const = default;
};

struct Tunnel {
  uint16_t listen_port = protocol::kDefaultListenPort;
  std::optional<IpPrefix> network;     // IPv4; unset: allocated
  std::optional<IpPrefix> network6;    // IPv6; unset: allocated
  uint32_t mtu = 0;                    // 0: auto
  uint16_t persistent_keepalive = 25;  // seconds; 0: off
  bool operator==(const Tunnel&) const = default;
};

struct HealthCheck {
  std::chrono::milliseconds interval{250};
  uint32_t unhealthy_threshold = 3;
  bool operator==(const HealthCheck&) const = default;
};

struct EdgeNode {
  ObjectMeta meta;
  std::string address;  // to dial: an IP address or a host name
  std::vector<PublicIp> public_ips;
  Tunnel tunnel;
  HealthCheck health_check;
  Selector uplink_selector;
  std::vector<std::string> allowed_namespaces;  // empty: all

  ObjectKey Key() const { return {Kind::kEdgeNode, "", meta.name}; }
  // Whether objects of this namespace may use it.
  bool Allows(const std::string& name_space) const;
  // `public_ips`; without any, the address to dial when it is an IP address.
  std::vector<PublicIp> PublicIps() const;
  bool operator==(const EdgeNode&) const = default;
};

// A duration as written, and what it means if it means something.
struct WrittenDuration {
  std::string text;
  std::optional<std::chrono::milliseconds> value;
  bool operator==(const WrittenDuration&) const = default;
};

struct ServiceRef {
  std::string name;
  std::string name_space;  // empty: the binding's own
  std::string port;        // a number or a name; empty: none
  bool operator==(const ServiceRef&) const = default;
};

struct Target {
  std::optional<ServiceRef> service;
  std::optional<std::string> address;
  std::optional<int64_t> port;  // of `address`
  std::string via;  // of `service`: "Endpoints" (also empty) or "ClusterIP"
  bool operator==(const Target&) const = default;
};

struct TcpOptions {
  std::string proxy_protocol;  // empty: none
  std::optional<WrittenDuration> connect_timeout;
  std::optional<WrittenDuration> idle_timeout;
  bool operator==(const TcpOptions&) const = default;
};

struct UdpOptions {
  std::optional<WrittenDuration> session_timeout;
  bool operator==(const UdpOptions&) const = default;
};

struct TlsOptions {
  std::string mode;        // "Passthrough", "Offload", "Mutual"
  std::string secret_ref;  // name of the Secret; empty: none
  bool operator==(const TlsOptions&) const = default;
};

struct AccessOptions {
  std::vector<std::string> allow_cidrs;
  std::vector<std::string> deny_cidrs;
  bool operator==(const AccessOptions&) const = default;
};

// As written; see validate.h for what it comes to.
struct Binding {
  std::string name;
  std::string protocol;
  std::optional<int64_t> listen_port;
  std::optional<int64_t> end_port;
  std::optional<std::string> public_ip;  // unset: the first; "*": all
  Target target;
  std::string client_ip = "Masquerade";
  std::optional<TcpOptions> tcp;
  std::optional<UdpOptions> udp;
  std::optional<TlsOptions> tls;
  std::optional<AccessOptions> access;
  bool operator==(const Binding&) const = default;
};

// Also what an exposed Service comes to (exposure.h).
struct PortBinding {
  Kind kind = Kind::kPortBinding;
  ObjectMeta meta;
  std::optional<std::string> edge_node;  // edgeNodeRef.name
  std::optional<Selector> edge_node_selector;
  std::vector<std::string> edge_nodes;  // of a Service, instead of both
  std::vector<Binding> bindings;

  ObjectKey Key() const { return {kind, meta.name_space, meta.name}; }
  // Whether it is meant for the node, which need not allow it.
  bool Selects(const EdgeNode& node) const;
  bool operator==(const PortBinding&) const = default;
};

// Everything that is wished for. The order of the lists means nothing.
struct World {
  std::vector<EdgeNode> edge_nodes;
  std::vector<PortBinding> port_bindings;
  // Where Services are looked up; unset: there is no Kubernetes.
  std::optional<Cluster> cluster;
  bool operator==(const World&) const = default;
};

}  // namespace edged::agent
