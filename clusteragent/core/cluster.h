#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/core/annotation_names.h"
#include "clusteragent/core/object_meta.h"
#include "common/net_types.h"

// Objects of Kubernetes itself that targets are looked up in, as plain values:
// of each what we use, whoever wrote it. Ports of other protocols than TCP and
// UDP, and addresses that are none, are left out where they are read.

namespace edged::agent {

struct ServicePort {
  std::string name;  // may be empty where there is but one
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
  auto operator<=>(const ServicePort&) const = default;
};

struct Service {
  ObjectMeta meta;
  std::string type = "ClusterIP";      // as written; also ExternalName
  bool headless = false;               // clusterIP: None
  std::vector<IpAddress> cluster_ips;  // one of each family at most
  std::vector<ServicePort> ports;
  bool has_selector = false;        // else its endpoints are written by hand
  bool client_ip_affinity = false;  // sessionAffinity: ClientIP
  std::vector<std::string> source_ranges;    // loadBalancerSourceRanges
  bool keeps_client_ip = false;              // externalTrafficPolicy: Local
  std::string load_balancer_class;           // empty: none
  std::vector<IpAddress> load_balancer_ips;  // as its status says
  bool status_is_others = false;  // others wrote these, or a host name
  bool operator==(const Service&) const = default;
};

// discovery.k8s.io/v1 says what an absent condition means; here it is said.
struct SliceEndpoint {
  IpAddress address;  // the first: the others are the same endpoint
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  std::string node;     // where it runs; empty: not said
  bool of_pod = false;  // a Pod of the slice's namespace, as the slice says
  bool operator==(const SliceEndpoint&) const = default;
};

struct SlicePort {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
  auto operator<=>(const SlicePort&) const = default;
};

// Endpoints of one Service; it may have many slices, and an endpoint may be in
// two of them for a while.
struct EndpointSlice {
  ObjectMeta meta;
  std::string service;  // label kubernetes.io/service-name; same namespace
  std::vector<SliceEndpoint> endpoints;
  std::vector<SlicePort> ports;
  bool operator==(const EndpointSlice&) const = default;
};

struct Namespace {
  ObjectMeta meta;
  bool operator==(const Namespace&) const = default;
};

// gateway.networking.k8s.io: objects of `from` may point to objects of `to` in
// the grant's own namespace.
struct ReferenceGrant {
  struct From {
    std::string group;
    std::string kind;
    std::string name_space;
    auto operator<=>(const From&) const = default;
  };
  struct To {
    std::string group;
    std::string kind;
    std::string name;  // empty: all
    auto operator<=>(const To&) const = default;
  };
  ObjectMeta meta;
  std::vector<From> from;
  std::vector<To> to;
  bool operator==(const ReferenceGrant&) const = default;
};

// A Service that an address is of, and with it of its namespace
// (address_index.h).
struct AddressHolder {
  std::string name_space;
  std::string service;
  // What the Service publishes there, sorted.
  std::vector<std::pair<Protocol, uint16_t>> ports;
  bool whole = true;  // all other ports are of its namespace, too
  auto operator<=>(const AddressHolder&) const = default;
};
using AddressHolders = std::map<IpAddress, std::vector<AddressHolder>>;

// The order of the lists means nothing.
struct Cluster {
  std::vector<Service> services;
  std::vector<EndpointSlice> slices;
  std::vector<Namespace> namespaces;
  std::vector<ReferenceGrant> grants;
  // Of the addresses that somebody may ask for; each sorted.
  AddressHolders holders;
  AnnotationNames annotations;
  bool operator==(const Cluster&) const = default;
};

}  // namespace edged::agent
