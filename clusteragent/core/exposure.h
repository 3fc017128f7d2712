#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/cluster.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/verdict.h"
#include "common/net_types.h"

// Services that ask to be reached from outside, without a PortBinding. Pure.

namespace edged::agent {

// spec.loadBalancerClass of a Service of type LoadBalancer that is ours.
inline constexpr char kLoadBalancerClass[] = "edged.dev/edge";

struct Exposure {
  Service service;
  std::vector<std::string> edges;    // empty: one is chosen
  std::vector<IpAddress> addresses;  // empty: chosen
  bool dedicated = false;
  std::vector<IpAddress> held;  // what it was given before
  // spec.loadBalancerSourceRanges as networks: whose connections are taken.
  // Empty: everybody's.
  std::vector<IpPrefix> source_ranges;
  std::optional<Refusal> refused;  // an annotation makes no sense
  AnnotationNames names;           // what its annotations are called

  // Whether one of the node's addresses may become its own.
  bool MayUse(const EdgeNode& node) const;
  bool operator==(const Exposure&) const = default;
};

// Whether all its Services are that can be a target; the API server itself
// ("default/kubernetes") never by its Namespace.
bool IsExposed(const Namespace& name_space, const AnnotationNames& names);

// Unset: it does not ask.
std::optional<Exposure> ReadExposure(const Service& service,
                                     const AnnotationNames& names,
                                     bool namespace_is_exposed);

// The oldest first; without those that are being deleted.
std::vector<Exposure> FindExposures(const Cluster& cluster);

// What a PortBinding would say that puts the Service's ports on `addresses`,
// which are of `edges`. Its kind is Service.
PortBinding BindingOf(const Exposure& exposure,
                      const std::vector<std::string>& edges,
                      const std::vector<IpAddress>& addresses);

}  // namespace edged::agent
