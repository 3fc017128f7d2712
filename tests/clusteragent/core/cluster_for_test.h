#pragma once

#include <string>
#include <vector>

#include "clusteragent/core/cluster.h"
#include "tests/clusteragent/core/objects_for_test.h"

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

}  // namespace edged::agent
