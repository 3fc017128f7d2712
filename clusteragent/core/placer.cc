#include "clusteragent/core/placer.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/protocol/edge_limits.h"

namespace edged::agent {
namespace {

std::string Ports(const protocol::Listener& listener) {
  return fmt::format("{}/{}", edged::ToString(listener.protocol),
                     listener.ports.ToString());
}

}  // namespace

std::string Placer::Candidate::Where() const {
  if (object.kind == Kind::kService) {
    return fmt::format("{}: {}", object.Key().ToString(), ref.binding);
  }
  return fmt::format("{}: spec.bindings[{}] \"{}\"", object.Key().ToString(),
                     ref.index, ref.binding);
}

std::string Placer::Candidate::Target() const {
  return service ? "Service " + service->ToString()
                 : "target " + valid.target.address.ToString();
}

Placer::Placer(const World& world, const Records& records, const Facts& facts)
    : records_(records), facts_(facts) {
  for (const EdgeNode& node : world.edge_nodes) {
    if (!node.meta.deleting) nodes_[node.meta.name] = &node;
  }
  if (world.cluster) services_.emplace(*world.cluster);
}

PlannedObject Placer::Place(const PortBinding& object) {
  const JudgedObject judged = Judge(object);
  PlannedObject planned{.key = object.Key(),
                        .generation = object.meta.generation,
                        .refused = judged.refused};
  for (const JudgedBinding& binding : judged.bindings) {
    PlannedBinding& result = planned.bindings.emplace_back();
    result.name = binding.name;
    result.index = binding.index;
    if (binding.refused() != nullptr) {
      result.refused = *binding.refused();
    } else if (judged.refused) {
      result.refused = judged.refused;
    } else {
      PlaceBinding({.object = object,
                    .valid = *binding.valid(),
                    .ref = {object.meta.name_space, object.meta.name,
                            binding.name, binding.index, object.kind}},
                   result);
    }
  }
  return planned;
}

bool Placer::IsTaken(const std::string& edge,
                     const protocol::Listener& listener) const {
  const auto touches = [&listener](const ReservedPort& port) {
    return port.protocol == listener.protocol &&
           listener.ports.Contains(port.port);
  };
  const auto record = records_.edges.find(edge);
  if (record != records_.edges.end() &&
      touches({Protocol::kUdp, record->second.listen_port})) {
    return true;
  }
  if (std::ranges::any_of(facts_.Edge(edge).reserved_ports, touches)) {
    return true;
  }
  const auto claims = claims_.find(edge);
  if (claims == claims_.end()) return false;
  const auto ports =
      claims->second.ports.find({listener.public_address, listener.protocol});
  return ports != claims->second.ports.end() &&
         ports->second.OwnerOf(listener.ports).has_value();
}

std::string Placer::HolderOf(const std::string& edge,
                             const IpAddress& address) const {
  const auto claims = claims_.find(edge);
  if (claims == claims_.end()) return "";
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    const auto ports = claims->second.ports.find({address, protocol});
    if (ports == claims->second.ports.end()) continue;
    const auto owner = ports->second.OwnerOf({1, 65535});
    if (!owner) continue;
    const BindingRef& binding = claims->second.granted[*owner].binding;
    return ObjectKey{binding.kind, binding.name_space, binding.object}
        .ToString();
  }
  return "";
}

void Placer::Dedicate(const std::string& edge, const IpAddress& address,
                      const ObjectKey& owner) {
  claims_[edge].dedicated.emplace(address, owner);
}

// A mapping is large: each is moved once.
std::vector<PlannedMapping> Placer::TakeGranted(const std::string& edge) {
  const auto found = claims_.find(edge);
  if (found == claims_.end()) return {};
  std::vector<PlannedMapping*> order;
  for (PlannedMapping& granted : found->second.granted) {
    order.push_back(&granted);
  }
  std::ranges::sort(
      order, {}, [](const PlannedMapping* granted) -> auto& {
        return granted->mapping.listener;
      });
  std::vector<PlannedMapping> sorted;
  sorted.reserve(order.size());
  for (PlannedMapping* granted : order) sorted.push_back(std::move(*granted));
  return sorted;
}

// An edge of several that has no place for the binding is passed over; the
// binding is refused when none has.
void Placer::PlaceBinding(Candidate candidate, PlannedBinding& planned) {
  std::optional<Refusal> refused = FindTarget(candidate);
  if (!refused) {
    for (const EdgeNode* node : SelectEdges(candidate, refused)) {
      for (const IpAddress& address :
           ChooseAddresses(candidate, *node, refused)) {
        planned.placements.push_back(
            {.edge = node->meta.name,
             .listener = {address, candidate.valid.protocol,
                          candidate.valid.ports}});
      }
    }
  }
  if (planned.placements.empty()) {
    planned.refused = refused;
    return;
  }
  std::ranges::sort(planned.placements, [](const auto& a, const auto& b) {
    return std::tie(a.edge, a.listener) < std::tie(b.edge, b.listener);
  });
  for (Placement& placement : planned.placements) {
    placement.refused = JudgePlacement(candidate, placement);
    if (!placement.refused) placement.refused = Claim(candidate, placement);
  }
}

std::vector<const EdgeNode*> Placer::SelectEdges(
    const Candidate& candidate, std::optional<Refusal>& refused) const {
  const PortBinding& object = candidate.object;
  std::vector<const EdgeNode*> selected;
  for (const auto& [name, node] : nodes_) {
    if (object.Selects(*node)) selected.push_back(node);
  }
  if (selected.empty()) {
    refused = Refusal{
        reason::kEdgeNodeNotFound,
        object.edge_node
            ? fmt::format("{}: spec.edgeNodeRef.name: there is no EdgeNode "
                          "\"{}\"",
                          object.Key().ToString(), *object.edge_node)
            : fmt::format("{}: spec.edgeNodeSelector: no EdgeNode matches "
                          "\"{}\"",
                          object.Key().ToString(),
                          object.edge_node_selector->ToString())};
  }
  std::erase_if(selected, [&](const EdgeNode* node) {
    if (node->Allows(object.meta.name_space)) return false;
    refused =
        Refusal{reason::kNamespaceNotAllowed,
                fmt::format("{}: EdgeNode {} does not list namespace \"{}\" in "
                            "spec.allowedNamespaces",
                            object.Key().ToString(), node->meta.name,
                            object.meta.name_space)};
    return true;
  });
  return selected;
}

std::vector<IpAddress> Placer::ChooseAddresses(
    const Candidate& candidate, const EdgeNode& node,
    std::optional<Refusal>& refused) const {
  std::vector<IpAddress> all;
  for (const PublicIp& ip : node.PublicIps()) all.push_back(ip.address);
  const std::string edge = node.Key().ToString();
  if (all.empty()) {
    refused = Refusal{
        reason::kNoPublicIp,
        fmt::format("{}: {} has no public address", candidate.Where(), edge)};
    return {};
  }
  const PublicIpChoice& choice = candidate.valid.public_ip;
  if (std::holds_alternative<FirstPublicIp>(choice)) return {all.front()};
  if (const IpAddress* named = std::get_if<IpAddress>(&choice)) {
    if (std::ranges::find(all, *named) != all.end()) return {*named};
    refused = Refusal{reason::kPublicIpNotOnEdge,
                      fmt::format("{}: publicIP: {} is not an address of {}",
                                  candidate.Where(), named->ToString(), edge)};
    return {};
  }
  // "*" means every address that can reach the target without a change of
  // family.
  std::erase_if(all, [&candidate](const IpAddress& address) {
    return !candidate.backends.contains(address.family());
  });
  if (all.empty()) {
    refused =
        Refusal{reason::kFamilyMismatch,
                fmt::format("{}: {} has no public address of the family of {}",
                            candidate.Where(), edge, candidate.Target())};
  }
  return all;
}

std::optional<Refusal> Placer::JudgePlacement(
    const Candidate& candidate, const Placement& placement) const {
  const IpAddress& address = placement.listener.public_address;
  if (!candidate.backends.contains(address.family())) {
    const auto why = candidate.without.find(address.family());
    if (why != candidate.without.end()) return why->second;
    return Refusal{
        reason::kFamilyMismatch,
        fmt::format("{}: public address {} and {} are of "
                    "different families",
                    candidate.Where(), address.ToString(), candidate.Target())};
  }
  const auto record = records_.edges.find(placement.edge);
  if (record == records_.edges.end()) {
    return Refusal{reason::kEdgeNodeNotReady,
                   fmt::format("{}: EdgeNode {} cannot be served, see its "
                               "conditions",
                               candidate.Where(), placement.edge)};
  }
  if (!address.is_ipv4() && !record->second.network6) {
    return Refusal{
        reason::kEdgeNodeNotReady,
        fmt::format("{}: public address {}: EdgeNode {} has no IPv6 "
                    "tunnel network, see its conditions",
                    candidate.Where(), address.ToString(), placement.edge)};
  }
  if (!record->second.IndexOf(address)) {
    return Refusal{
        reason::kTooManyPublicIps,
        fmt::format("{}: public address {} has no place in the "
                    "tunnel network of EdgeNode {}",
                    candidate.Where(), address.ToString(), placement.edge)};
  }
  return JudgeReserved(candidate, placement, record->second.listen_port);
}

std::optional<Refusal> Placer::JudgeReserved(const Candidate& candidate,
                                             const Placement& placement,
                                             uint16_t tunnel_port) const {
  const protocol::Listener& listener = placement.listener;
  const auto touches = [&listener](const ReservedPort& port) {
    return port.protocol == listener.protocol &&
           listener.ports.Contains(port.port);
  };
  const auto refuse = [&](const ReservedPort& port, std::string_view what) {
    return Refusal{
        reason::kPortReserved,
        fmt::format("{}: {} touches {}, {} of EdgeNode {}", candidate.Where(),
                    Ports(listener), port.ToString(), what, placement.edge)};
  };
  const ReservedPort tunnel{Protocol::kUdp, tunnel_port};
  if (touches(tunnel)) return refuse(tunnel, "the WireGuard port");
  const auto& reserved = facts_.Edge(placement.edge).reserved_ports;
  const auto found = std::ranges::find_if(reserved, touches);
  if (found != reserved.end()) return refuse(*found, "a reserved port");
  return std::nullopt;
}

// What the endpoints depend on, beside protocol and family.
std::string Placer::BackendName(const Candidate& candidate) {
  std::string name = candidate.service->ToString();
  const PortRange& ports = candidate.valid.ports;
  if (!ports.is_single()) {
    name = fmt::format("{}/{}:{}", candidate.service->name_space,
                       candidate.service->name, ports.ToString());
  }
  if (candidate.service->via_cluster_ip) name += " via ClusterIP";
  if (candidate.valid.client_ip == ClientIp::kPreserve) name += " on this host";
  return name;
}

std::optional<Refusal> Placer::Claim(const Candidate& candidate,
                                     const Placement& placement) {
  const protocol::Listener& listener = placement.listener;
  EdgeClaims& edge = claims_[placement.edge];
  const auto alone = edge.dedicated.find(listener.public_address);
  if (alone != edge.dedicated.end() &&
      alone->second != candidate.object.Key()) {
    return Refusal{
        reason::kNoFreePublicIp,
        fmt::format("{}: {} of EdgeNode {} is dedicated to {}, which is older",
                    candidate.Where(), listener.public_address.ToString(),
                    placement.edge, alone->second.ToString())};
  }
  PortClaims& ports = edge.ports[{listener.public_address, listener.protocol}];
  if (const auto owner = ports.OwnerOf(listener.ports)) {
    const PlannedMapping& winner = edge.granted[*owner];
    return Refusal{
        reason::kListenerConflict,
        fmt::format(
            "{}: {} on {} of EdgeNode {} is held by {} {}/{} \"{}\", "
            "which is {}",
            candidate.Where(), Ports(winner.mapping.listener),
            listener.public_address.ToString(), placement.edge,
            agent::ToString(winner.binding.kind), winner.binding.name_space,
            winner.binding.object, winner.binding.binding,
            winner.binding.kind == candidate.ref.kind &&
                    winner.binding.name_space == candidate.ref.name_space &&
                    winner.binding.object == candidate.ref.object
                ? "first in the list"
                : "older")};
  }
  PlannedMapping granted = MappingOf(candidate, placement);
  if (auto refusal = TakeRoom(candidate, placement, granted, edge)) {
    return refusal;
  }
  ports.Claim(listener.ports, edge.granted.size());
  edge.granted.push_back(std::move(granted));
  return std::nullopt;
}

PlannedMapping Placer::MappingOf(const Candidate& candidate,
                                 const Placement& placement) {
  const protocol::Listener& listener = placement.listener;
  const Family family = listener.public_address.family();
  PlannedMapping planned{.mapping = {.listener = listener},
                         .binding = candidate.ref,
                         .backend = candidate.backends.at(family),
                         .client_ip = candidate.valid.client_ip,
                         .timeouts = candidate.valid.timeouts,
                         .access = candidate.valid.access};
  if (candidate.service) planned.service = BackendName(candidate);
  const auto holders = candidate.holders.find(family);
  if (holders == candidate.holders.end()) return planned;
  planned.holders = {
      .target = candidate.service
                    ? fmt::format("{} {}", edged::ToString(listener.protocol),
                                  planned.service)
                    : candidate.valid.target.address.ToString(),
      .uplinks = holders->second};
  return planned;
}

std::optional<Refusal> Placer::TakeRoom(const Candidate& candidate,
                                        const Placement& placement,
                                        const PlannedMapping& planned,
                                        EdgeClaims& edge) {
  const auto refuse = [&](size_t most, std::string_view what) {
    return Refusal{
        reason::kEdgeFull,
        fmt::format("{}: EdgeNode {} takes {} {} at most, and older bindings "
                    "have them",
                    candidate.Where(), placement.edge, most, what)};
  };
  if (edge.granted.size() >= protocol::kMostMappings) {
    return refuse(protocol::kMostMappings, "listeners");
  }
  static const std::string kNone;
  const auto group = std::tie(
      placement.listener.public_address, planned.timeouts, planned.access,
      planned.holders ? planned.holders->target : kNone);
  if (edge.groups.contains(group)) return std::nullopt;
  if (edge.groups.size() >= kMostGroupsOfEdge) {
    return refuse(kMostGroupsOfEdge,
                  "groups (choices of public address, timeouts, access and "
                  "target of clientIP: Preserve)");
  }
  const Protocol protocol = placement.listener.protocol;
  const std::pair timeout(protocol, planned.timeouts.Of(protocol));
  const bool is_new_timeout =
      timeout.second.count() > 0 && !edge.timeouts.contains(timeout);
  if (is_new_timeout && edge.timeouts.size() >= protocol::kMostTimeouts) {
    return refuse(protocol::kMostTimeouts, "different timeouts");
  }
  const size_t prefixes =
      planned.access.allow.size() + planned.access.deny.size();
  const bool has_access = !planned.access.empty();
  if (has_access && edge.with_access >= kMostAccessOfEdge) {
    return refuse(kMostAccessOfEdge, "groups with access of their own");
  }
  if (edge.prefixes + prefixes > kMostPrefixesOfEdge) {
    return refuse(kMostPrefixesOfEdge, "prefixes in the access of bindings");
  }
  if (is_new_timeout) edge.timeouts.insert(timeout);
  edge.with_access += has_access ? 1 : 0;
  edge.prefixes += prefixes;
  edge.groups.insert(group);
  return std::nullopt;
}

}  // namespace edged::agent
