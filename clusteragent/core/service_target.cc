#include "clusteragent/core/service_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "clusteragent/core/target_address.h"

namespace edged::agent {
namespace {

constexpr char kApiGroup[] = "edged.dev";

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

// Whoever may write a Service without a selector writes its endpoints, too.
std::optional<Refusal> JudgeEndpoints(const EndpointSlice& slice,
                                      const Service& service,
                                      const TargetUser& user) {
  for (const SliceEndpoint& endpoint : slice.endpoints) {
    const std::string_view why = WhyNoTarget(endpoint.address);
    if (why.empty()) continue;
    return Refusal{
        reason::kInvalidTarget,
        fmt::format("{}: {}: endpoint {} of EndpointSlice {} {}", user.where,
                    Named(service), endpoint.address.ToString(),
                    slice.meta.name, why)};
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

ServiceTargets::ServiceTargets(const Cluster& cluster)
    : allow_label_(cluster.annotations.allow_port_bindings()) {
  for (const Service& service : cluster.services) {
    services_[{service.meta.name_space, service.meta.name}] = &service;
  }
  for (const EndpointSlice& slice : cluster.slices) {
    slices_[{slice.meta.name_space, slice.service}].push_back(&slice);
  }
  for (const Namespace& name_space : cluster.namespaces) {
    namespaces_[name_space.meta.name] = &name_space;
  }
  for (const ReferenceGrant& grant : cluster.grants) {
    grants_[grant.meta.name_space].push_back(&grant);
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
  if (!MayPoint(user.name_space, name)) {
    return Refusal{
        reason::kTargetDenied,
        fmt::format("{}: {} is in another namespace, which has neither the "
                    "label {}=true nor a ReferenceGrant for PortBindings of "
                    "namespace \"{}\"",
                    user.where, Named(service), allow_label_, user.name_space)};
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
  if (target.via_cluster_ip) return ThroughClusterIp(service, ports.front());
  return ToEndpoints(service, ports, user);
}

bool ServiceTargets::MayPoint(const std::string& from,
                              const Name& service) const {
  const auto& name_space = service.first;
  const auto& name = service.second;
  if (from == name_space) return true;
  const auto target = namespaces_.find(name_space);
  if (target != namespaces_.end()) {
    const Labels& labels = target->second->meta.labels;
    const auto label = labels.find(allow_label_);
    if (label != labels.end() && label->second == "true") return true;
  }
  const auto grants = grants_.find(name_space);
  if (grants == grants_.end()) return false;
  const ReferenceGrant::From wanted{kApiGroup, "PortBinding", from};
  return std::ranges::any_of(grants->second, [&](const ReferenceGrant* grant) {
    return std::ranges::find(grant->from, wanted) != grant->from.end() &&
           std::ranges::any_of(grant->to, [&](const ReferenceGrant::To& to) {
             return to.group.empty() && to.kind == "Service" &&
                    (to.name.empty() || to.name == name);
           });
  });
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
    const Service& service, const ServicePort& first) const {
  Backends backends;
  for (const IpAddress& address : service.cluster_ips) {
    if (!WhyNoTarget(address).empty()) continue;
    // kube-proxy keeps the affinity, and sees one client: us.
    backends[address.family()] = {.endpoints = {{address, first.port}}};
  }
  return backends;
}

std::variant<Backends, Refusal> ServiceTargets::ToEndpoints(
    const Service& service, const std::vector<ServicePort>& ports,
    const TargetUser& user) const {
  std::map<Family, Candidates> candidates;
  for (const IpAddress& address : service.cluster_ips) {
    candidates[address.family()];
  }
  const auto slices =
      slices_.find({service.meta.name_space, service.meta.name});
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
  if (slices != slices_.end()) {
    for (const EndpointSlice* slice : slices->second) {
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
      if (auto refusal = JudgeEndpoints(*slice, service, user)) {
        return *std::move(refusal);
      }
      add(*slice, PortOf(*slice, ports.front())->port);
    }
  }
  Backends backends;
  for (auto& [family, found] : candidates) {
    backends[family] = Choose(std::move(found), service.client_ip_affinity);
  }
  return backends;
}

}  // namespace edged::agent
