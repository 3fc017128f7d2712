#include "clusteragent/core/service_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "clusteragent/core/address_index.h"
#include "clusteragent/core/target_address.h"

namespace edged::agent {
namespace {

std::string Named(const Service& service) {
  return fmt::format("Service {}/{}", service.meta.name_space,
                     service.meta.name);
}

std::string Upper(Protocol protocol) {
  return protocol == Protocol::kTcp ? "TCP" : "UDP";
}

std::optional<uint16_t> AsPort(const std::string& text) {
  uint16_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

// What a Service publishes, for people: "http 80/TCP, 53/UDP".
std::string PortsText(const Service& service) {
  std::string text;
  for (const ServicePort& port : service.ports) {
    text += fmt::format("{}{}{}{}/{}", text.empty() ? "" : ", ", port.name,
                        port.name.empty() ? "" : " ", port.port,
                        Upper(port.protocol));
  }
  return text.empty() ? "nothing" : text;
}

std::optional<Refusal> JudgeType(const Service& service,
                                 const TargetUser& user) {
  const auto refuse = [&](std::string_view why) {
    return Refusal{reason::kUnsupportedServiceType,
                   fmt::format("{}: {} {}", user.where, Named(service), why)};
  };
  if (service.type == "ExternalName") {
    return refuse("is an ExternalName: it has no endpoints of its own");
  }
  if (service.type != "ClusterIP" && service.type != "NodePort" &&
      service.type != "LoadBalancer") {
    return refuse(
        fmt::format("has type \"{}\", which is none of ClusterIP, "
                    "NodePort, LoadBalancer",
                    service.type));
  }
  if (service.headless) {
    return refuse("is headless: clients choose its endpoints by name");
  }
  return std::nullopt;
}

// The port of a slice that serves `port`: they share the name.
const SlicePort* PortOf(const EndpointSlice& slice, const ServicePort& port) {
  const auto found =
      std::ranges::find_if(slice.ports, [&port](const SlicePort& candidate) {
        return candidate.name == port.name &&
               candidate.protocol == port.protocol;
      });
  return found == slice.ports.end() ? nullptr : &*found;
}

// What a listener on `ports` leads to from `first` on.
PortRange PortsFrom(uint16_t first, PortRange ports) {
  const int last = first + (ports.last - ports.first);
  return {first, static_cast<uint16_t>(std::min(last, 65535))};
}

// Candidates of one family, by how fit they are.
struct Candidates {
  std::vector<SocketAddress> ready;
  std::vector<SocketAddress> ending;  // serving, but terminating
};

Backend Choose(Candidates candidates, bool affinity) {
  std::vector<SocketAddress>& chosen =
      candidates.ready.empty() ? candidates.ending : candidates.ready;
  std::ranges::sort(chosen);
  // Not std::ranges::unique: clang 14 cannot compile libstdc++ 12's.
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return {.endpoints = std::move(chosen), .client_ip_affinity = affinity};
}

}  // namespace

std::string ServiceTarget::ToString() const {
  return fmt::format("{}/{}{}{}", name_space, name, port.empty() ? "" : ":",
                     port);
}

ServiceTargets::ServiceTargets(const Cluster& cluster) : consents_(cluster) {
  for (const Service& service : cluster.services) {
    services_[{service.meta.name_space, service.meta.name}] = &service;
  }
  for (const EndpointSlice& slice : cluster.slices) {
    slices_[{slice.meta.name_space, slice.service}].push_back(&slice);
  }
}

std::variant<Backends, Refusal> ServiceTargets::Resolve(
    const ServiceTarget& target, const TargetUser& user) const {
  const Name name{target.name_space, target.name};
  const auto found = services_.find(name);
  if (found == services_.end()) {
    return Refusal{reason::kServiceNotFound,
                   fmt::format("{}: there is no Service {}/{}", user.where,
                               target.name_space, target.name)};
  }
  const Service& service = *found->second;
  if (!consents_.ToService(user.name_space, name)) {
    return Refusal{
        reason::kTargetDenied,
        fmt::format("{}: {} is in another namespace, which {}", user.where,
                    Named(service), consents_.Lack(user.name_space))};
  }
  if (auto refusal = JudgeType(service, user)) return *std::move(refusal);
  // A range keeps its ports, so every one of them must be published.
  std::vector<ServicePort> ports;
  const bool own_port = user.ports.is_single() && !target.port.empty();
  for (uint32_t port = user.ports.first; port <= user.ports.last; ++port) {
    auto published = FindPort(
        service, own_port ? target.port : fmt::format("{}", port), user);
    if (auto* refusal = std::get_if<Refusal>(&published)) return *refusal;
    ports.push_back(std::get<ServicePort>(std::move(published)));
  }
  if (target.via_cluster_ip) return ThroughClusterIp(service, ports, user);
  return ToEndpoints(service, ports, user);
}

std::optional<Refusal> ServiceTargets::JudgeAddress(
    const SocketAddress& target, const TargetUser& user) const {
  const std::string against =
      consents_.AgainstAddress(user.name_space, target.address, user.protocol,
                               PortsFrom(target.port, user.ports));
  if (against.empty()) return std::nullopt;
  return Refusal{reason::kTargetDenied,
                 fmt::format("{}: target.address: {} is of namespace \"{}\", "
                             "which {}",
                             user.where, target.address.ToString(), against,
                             consents_.Lack(user.name_space))};
}

std::optional<Refusal> ServiceTargets::JudgeEndpoints(
    const Service& service, const EndpointSlice& slice, PortRange ports,
    const TargetUser& user) const {
  const auto refuse = [&](const char* reason, const SliceEndpoint& endpoint,
                          std::string_view why) {
    return Refusal{
        reason, fmt::format("{}: {}: endpoint {} of EndpointSlice {} {}",
                            user.where, Named(service),
                            endpoint.address.ToString(), slice.meta.name, why)};
  };
  // Who wrote them asks for them.
  const std::string& from = service.meta.name_space;
  for (const SliceEndpoint& endpoint : slice.endpoints) {
    const std::string_view why = WhyNoTarget(endpoint.address);
    if (!why.empty()) return refuse(reason::kInvalidTarget, endpoint, why);
    if (IsOwnEndpoint(service, slice, endpoint)) continue;
    const std::string against =
        consents_.AgainstAddress(from, endpoint.address, user.protocol, ports);
    if (against.empty()) continue;
    return refuse(reason::kTargetDenied, endpoint,
                  fmt::format("is of namespace \"{}\", which {}", against,
                              consents_.Lack(from)));
  }
  return std::nullopt;
}

std::variant<ServicePort, Refusal> ServiceTargets::FindPort(
    const Service& service, const std::string& port,
    const TargetUser& user) const {
  const auto number = AsPort(port);
  for (const ServicePort& candidate : service.ports) {
    if (candidate.protocol != user.protocol) continue;
    if (number ? candidate.port == *number : candidate.name == port) {
      return candidate;
    }
  }
  return Refusal{reason::kTargetPortNotListening,
                 fmt::format("{}: {} does not publish {}/{}; it publishes {}",
                             user.where, Named(service), port,
                             Upper(user.protocol), PortsText(service))};
}

std::variant<Backends, Refusal> ServiceTargets::ThroughClusterIp(
    const Service& service, const std::vector<ServicePort>& ports,
    const TargetUser& user) const {
  for (const EndpointSlice* slice : SlicesOf(service)) {
    for (const ServicePort& port : ports) {
      const SlicePort* at = PortOf(*slice, port);
      if (at == nullptr) continue;
      const PortRange leads_to{at->port, at->port};
      if (auto refusal = JudgeEndpoints(service, *slice, leads_to, user)) {
        return *std::move(refusal);
      }
    }
  }
  Backends backends;
  for (const IpAddress& address : service.cluster_ips) {
    if (!WhyNoTarget(address).empty()) continue;
    // kube-proxy keeps the affinity, and sees one client: us.
    backends[address.family()] = {.endpoints = {{address, ports.front().port}}};
  }
  return backends;
}

const std::vector<const EndpointSlice*>& ServiceTargets::SlicesOf(
    const Service& service) const {
  static const std::vector<const EndpointSlice*> kNone;
  const auto found = slices_.find({service.meta.name_space, service.meta.name});
  return found == slices_.end() ? kNone : found->second;
}

std::variant<Backends, Refusal> ServiceTargets::ToEndpoints(
    const Service& service, const std::vector<ServicePort>& ports,
    const TargetUser& user) const {
  std::map<Family, Candidates> candidates;
  for (const IpAddress& address : service.cluster_ips) {
    candidates[address.family()];
  }
  const auto add = [&](const EndpointSlice& slice, uint16_t port) {
    for (const SliceEndpoint& endpoint : slice.endpoints) {
      const SocketAddress at{endpoint.address, port};
      Candidates& same = candidates[endpoint.address.family()];
      if (endpoint.ready) {
        same.ready.push_back(at);
      } else if (endpoint.serving && endpoint.terminating) {
        same.ending.push_back(at);
      }
    }
  };
  for (const EndpointSlice* slice : SlicesOf(service)) {
    size_t served = 0;
    for (const ServicePort& port : ports) {
      const SlicePort* at = PortOf(*slice, port);
      if (at == nullptr) continue;
      ++served;
      if (ports.size() == 1 || at->port == port.port) continue;
      return Refusal{
          reason::kInvalidRange,
          fmt::format("{}: a range keeps its ports, but {} leads from port "
                      "{} to {}",
                      user.where, Named(service), port.port, at->port)};
    }
    if (served != ports.size()) continue;
    const uint16_t first_port = PortOf(*slice, ports.front())->port;
    if (auto refusal = JudgeEndpoints(
            service, *slice, PortsFrom(first_port, user.ports), user)) {
      return *std::move(refusal);
    }
    add(*slice, first_port);
  }
  Backends backends;
  for (auto& [family, found] : candidates) {
    backends[family] = Choose(std::move(found), service.client_ip_affinity);
  }
  return backends;
}

}  // namespace edged::agent
