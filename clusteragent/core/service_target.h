#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "clusteragent/core/cluster.h"
#include "clusteragent/core/consent.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/verdict.h"
#include "common/net_types.h"

// What stands behind a Service that a binding points to. Pure.

namespace edged::agent {

inline constexpr char kServiceNameLabel[] = "kubernetes.io/service-name";

// Where connections go: to one of the endpoints by a hash, of the client alone
// with affinity. None: they are refused at once. Of a range every endpoint has
// the range's first port, and the others follow.
struct Backend {
  std::vector<SocketAddress> endpoints;  // sorted, each once
  bool client_ip_affinity = false;
  bool operator==(const Backend&) const = default;
};

// By family; a family that the Service does not have is absent.
using Backends = std::map<Family, Backend>;

// A target as a valid binding names it.
struct ServiceTarget {
  std::string name_space;
  std::string name;
  std::string port;  // a number or a name; empty: those of the listener
  bool via_cluster_ip = false;
  std::string ToString() const;  // "shop/web:http"
  bool operator==(const ServiceTarget&) const = default;
};

// Who asks for it.
struct TargetUser {
  std::string name_space;  // of the PortBinding
  Protocol protocol = Protocol::kTcp;
  PortRange ports;    // what the binding listens on
  std::string where;  // "PortBinding a/b: spec.bindings[0] \"web\""
};

// Looks targets up, and asks for the consent of other namespaces. Borrows the
// cluster.
class ServiceTargets {
 public:
  explicit ServiceTargets(const Cluster& cluster);

  // Endpoints are those that kube-proxy would take: the ready ones, and without
  // any of them those that still serve while they end.
  std::variant<Backends, Refusal> Resolve(const ServiceTarget& target,
                                          const TargetUser& user) const;

  // What speaks against an address as a target; of a range with its first port.
  std::optional<Refusal> JudgeAddress(const SocketAddress& target,
                                      const TargetUser& user) const;

 private:
  using Name = std::pair<std::string, std::string>;  // namespace, name

  // Whoever may write a Service without a selector writes its endpoints, too.
  std::optional<Refusal> JudgeEndpoints(const Service& service,
                                        const EndpointSlice& slice,
                                        PortRange ports,
                                        const TargetUser& user) const;
  // The port of `service` that is named or numbered `port`.
  std::variant<ServicePort, Refusal> FindPort(const Service& service,
                                              const std::string& port,
                                              const TargetUser& user) const;
  std::variant<Backends, Refusal> ThroughClusterIp(
      const Service& service, const std::vector<ServicePort>& ports,
      const TargetUser& user) const;
  const std::vector<const EndpointSlice*>& SlicesOf(
      const Service& service) const;
  std::variant<Backends, Refusal> ToEndpoints(
      const Service& service, const std::vector<ServicePort>& ports,
      const TargetUser& user) const;

  const Consents consents_;
  std::map<Name, const Service*> services_;
  std::map<Name, std::vector<const EndpointSlice*>> slices_;  // by Service
};

}  // namespace edged::agent
