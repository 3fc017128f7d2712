#pragma once

#include <string>
#include <vector>

#include "clusteragent/core/allocator.h"
#include "clusteragent/core/facts.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/planner.h"

// Short ways to write objects in tests.

namespace edged::agent {

inline IpAddress Ip(std::string_view text) {
  return IpAddress::Parse(text).value();
}

inline IpPrefix Prefix(std::string_view text) {
  return IpPrefix::Parse(text).value();
}

inline std::chrono::sys_seconds At(int64_t seconds) {
  return std::chrono::sys_seconds(std::chrono::seconds(seconds));
}

// An edge that is dialled at the first of its public addresses.
inline EdgeNode Edge(const std::string& name,
                     const std::vector<std::string>& public_ips) {
  EdgeNode node{.meta = {.name = name}, .address = public_ips.at(0)};
  for (const std::string& ip : public_ips) {
    node.public_ips.push_back({.address = Ip(ip)});
  }
  return node;
}

// A binding to 10.0.0.5 on the listener's own port.
inline Binding Bind(const std::string& name, const std::string& protocol,
                    int64_t port) {
  return {.name = name,
          .protocol = protocol,
          .listen_port = port,
          .target = {.address = "10.0.0.5", .port = port}};
}

inline Binding BindRange(const std::string& name, const std::string& protocol,
                         int64_t first, int64_t last) {
  return {.name = name,
          .protocol = protocol,
          .listen_port = first,
          .end_port = last,
          .target = {.address = "10.0.0.5"}};
}

// In namespace "default".
inline PortBinding Object(const std::string& name, const std::string& edge,
                          std::vector<Binding> bindings) {
  return {.meta = {.name_space = "default", .name = name},
          .edge_node = edge,
          .bindings = std::move(bindings)};
}

// The key that uplink number `n` has everywhere.
inline PublicKey KeyNumber(uint8_t n) {
  std::array<uint8_t, kKeySize> bytes{};
  bytes.fill(n);
  return PublicKey(bytes);
}

// One uplink "home" on a host 192.168.1.10, with keys for `edges`.
inline Facts FactsFor(const std::vector<std::string>& edges) {
  Facts facts{.cluster_uid = "c1",
              .own_uplink = "home",
              .uplinks = {{.name = "home", .addresses = {Ip("192.168.1.10")}}},
              .local_addresses = {Ip("192.168.1.10")}};
  for (const std::string& edge : edges) {
    facts.uplinks[0].keys[edge] = KeyNumber(1);
  }
  return facts;
}

inline Plan PlanOf(const World& world, const Facts& facts,
                   const Records& records = {}) {
  return MakePlan(world, Allocate(records, world, facts), facts);
}

}  // namespace edged::agent
