#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "clusteragent/core/address_index.h"
#include "clusteragent/core/cluster.h"
#include "tests/clusteragent/core/uplink_for_test.h"

// Short ways to write what a cluster holds.

namespace edged::agent {

inline Service ServiceOf(const std::string& name_space, const std::string& name,
                         std::vector<ServicePort> ports,
                         const std::vector<std::string>& cluster_ips = {
                             "10.96.0.10"}) {
  Service service{.meta = {.name_space = name_space, .name = name},
                  .ports = std::move(ports)};
  for (const std::string& ip : cluster_ips) {
    service.cluster_ips.push_back(Ip(ip));
  }
  return service;
}

inline SliceEndpoint Ready(const std::string& address) {
  return {.address = Ip(address)};
}

inline SliceEndpoint NotReady(const std::string& address) {
  return {.address = Ip(address), .ready = false, .serving = false};
}

// It was ready, and ends.
inline SliceEndpoint Ending(const std::string& address) {
  return {.address = Ip(address), .ready = false, .terminating = true};
}

inline EndpointSlice SliceOf(const Service& service, const std::string& name,
                             std::vector<SlicePort> ports,
                             std::vector<SliceEndpoint> endpoints) {
  return {.meta = {.name_space = service.meta.name_space, .name = name},
          .service = service.meta.name,
          .endpoints = std::move(endpoints),
          .ports = std::move(ports)};
}

// Makes it one that Kubernetes fills with Pods.
inline void SelectPods(Service& service, EndpointSlice& slice) {
  service.has_selector = true;
  slice.meta.labels["endpointslice.kubernetes.io/managed-by"] =
      "endpointslice-controller.k8s.io";
  for (SliceEndpoint& endpoint : slice.endpoints) endpoint.of_pod = true;
}

// Who has the addresses, as an ObjectStore would know it.
inline void FillHolders(Cluster& cluster) {
  cluster.holders.clear();
  for (const Service& service : cluster.services) {
    std::vector<EndpointSlice> slices;
    for (const EndpointSlice& slice : cluster.slices) {
      if (slice.meta.name_space == service.meta.name_space &&
          slice.service == service.meta.name) {
        slices.push_back(slice);
      }
    }
    for (const auto& [address, holder] : AddressesOf(service, slices)) {
      cluster.holders[address].push_back(holder);
    }
  }
  for (auto& [address, holders] : cluster.holders) std::ranges::sort(holders);
}

// Edge "a" as in TwoEdges(), whose bindings lead to a Service of both families
// with two endpoints of each.
inline World WithService() {
  World world = BothFamilies();
  const Service web = ServiceOf("default", "web",
                                {{"http", Protocol::kTcp, 80},
                                 {"m1", Protocol::kUdp, 100},
                                 {"m2", Protocol::kUdp, 101}},
                                {"10.96.0.10", "fd00::10"});
  const std::vector<SlicePort> ports = {{"http", Protocol::kTcp, 8080},
                                        {"m1", Protocol::kUdp, 100},
                                        {"m2", Protocol::kUdp, 101}};
  world.cluster = Cluster{
      .services = {web},
      .slices = {
          SliceOf(web, "4", ports, {Ready("10.1.0.1"), Ready("10.1.0.2")}),
          SliceOf(web, "6", ports, {Ready("fd00:1::1"), Ready("fd00:1::2")})}};
  Binding http = Bind("http", "TCP", 80);
  http.target = {.service = ServiceRef{.name = "web", .port = "http"}};
  Binding http_too = http;
  http_too.name = "http-too";
  http_too.listen_port = 81;
  Binding six = http;
  six.name = "six";
  six.public_ip = "2001:db8::1";
  Binding media = BindRange("media", "UDP", 100, 101);
  media.target = {.service = ServiceRef{.name = "web"}};
  world.port_bindings = {Object("web", "a", {http, http_too, six, media})};
  return world;
}

}  // namespace edged::agent
