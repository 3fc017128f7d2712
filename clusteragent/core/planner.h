#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/allocator.h"
#include "clusteragent/core/facts.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/service_target.h"
#include "clusteragent/core/validate.h"
#include "clusteragent/core/verdict.h"
#include "common/protocol/records.h"

// What every edge should be, and what becomes of every binding. Pure, and the
// same bytes for the same input in any order.

namespace edged::agent {

// One binding of one object, for people: "default/web/https".
struct BindingRef {
  std::string name_space;
  std::string object;
  std::string binding;
  size_t index = 0;                // in spec.bindings
  Kind kind = Kind::kPortBinding;  // or an exposed Service
  std::string ToString() const;
  auto operator<=>(const BindingRef&) const = default;
};

// The uplinks that can serve a target with Preserve: those on whose hosts it
// has an endpoint. Others get no clients of it, and keep no endpoint.
struct Holders {
  std::string target;                // "10.0.0.5", "tcp shop/web:http"
  std::vector<std::string> uplinks;  // names, sorted
  bool operator==(const Holders&) const = default;
};

// A mapping of an edge with what stands behind it on an uplink.
struct PlannedMapping {
  protocol::Mapping mapping;
  BindingRef binding;
  Backend backend;  // of a range: with its first port
  // The Service that the endpoints are of, "shop/web:http"; empty: an address.
  // Of one name and protocol they are the same, and change together.
  std::string service;
  ClientIp client_ip = ClientIp::kMasquerade;
  std::optional<Holders> holders;  // of Preserve
  protocol::Timeouts timeouts;
  protocol::Access access;
  bool operator==(const PlannedMapping&) const = default;
};

struct EdgePlan {
  std::string edge;  // EdgeNode name
  std::string uid;
  std::string address;       // to dial: IP address or host name
  uint16_t listen_port = 0;  // WireGuard, UDP
  IpPrefix network;          // overlay; for IPv6: wanted.settings.network6
  uint16_t keepalive_seconds = 0;
  uint32_t mtu = 0;        // 0: auto
  uint32_t number = 0;     // of the mark and the policy table, 1-255
  uint32_t own_block = 0;  // of this uplink; 0: it does not serve this edge
  protocol::EdgeState wanted;
  std::vector<PlannedMapping> mappings;  // beside wanted.mappings, same order
  bool operator==(const EdgePlan&) const = default;
};

// A listener that a binding asks for on one edge.
struct Placement {
  std::string edge;
  protocol::Listener listener;
  std::optional<Refusal> refused;  // unset: the edge is asked for it
  bool operator==(const Placement&) const = default;
};

struct PlannedBinding {
  std::string name;
  size_t index = 0;
  std::optional<Refusal> refused;     // wholly: then there are no placements
  std::vector<Placement> placements;  // sorted by edge, listener
  bool operator==(const PlannedBinding&) const = default;
};

struct PlannedObject {
  ObjectKey key;
  int64_t generation = 0;
  std::optional<Refusal> refused;        // the object as a whole
  std::vector<PlannedBinding> bindings;  // as written
  bool operator==(const PlannedObject&) const = default;
};

struct PlannedEdge {
  ObjectKey key;
  int64_t generation = 0;
  bool deleting = false;  // it goes when its edge has let go of everything
  std::vector<Refusal> problems;
  bool operator==(const PlannedEdge&) const = default;
};

struct Plan {
  std::vector<EdgePlan> edges;  // sorted by name; those that can be served
  std::vector<PlannedEdge> edge_nodes;       // all, sorted by name
  std::vector<PlannedObject> port_bindings;  // all, sorted by namespace, name

  // Each nullptr where there is none.
  const EdgePlan* Edge(const std::string& name) const;
  const PlannedEdge* EdgeNode(const ObjectKey& key) const;
  const PlannedObject* Object(const ObjectKey& key) const;
  bool operator==(const Plan&) const = default;
};

// Of two objects that want one listener the older serves (creation timestamp;
// one that has a timestamp before one that has none; then namespace, name,
// place in the list); the other one's refusal names it.
Plan MakePlan(const World& world, const Allocation& allocation,
              const Facts& facts);

}  // namespace edged::agent
