#include "clusteragent/core/address_pool.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace edged::agent {
namespace {

bool Has(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::ranges::find(addresses, address) != addresses.end();
}

std::string Named(const Exposure& exposure) {
  return fmt::format("Service {}/{}", exposure.service.meta.name_space,
                     exposure.service.meta.name);
}

std::set<Family> FamiliesOf(const Service& service) {
  std::set<Family> families;
  for (const IpAddress& address : service.cluster_ips) {
    families.insert(address.family());
  }
  return families;
}

std::string PortsText(const Service& service) {
  std::vector<std::string> ports;
  for (const ServicePort& port : service.ports) {
    ports.push_back(
        fmt::format("{}/{}", edged::ToString(port.protocol), port.port));
  }
  return fmt::format("{}", fmt::join(ports, ", "));
}

}  // namespace

AddressPool::Name AddressPool::NameOf(const Exposure& exposure) {
  return {exposure.service.meta.name_space, exposure.service.meta.name};
}

AddressPool::AddressPool(const std::vector<EdgeNode>& nodes,
                         const std::vector<Exposure>& exposures) {
  for (const EdgeNode& node : nodes) {
    if (!node.meta.deleting) nodes_[node.meta.name] = &node;
  }
  for (const Exposure& exposure : exposures) {
    if (exposure.refused) continue;
    for (const EdgeNode* node : EdgesFor(exposure)) {
      for (const PublicIp& ip : node->PublicIps()) {
        const bool named = Has(exposure.addresses, ip.address);
        const bool kept =
            exposure.addresses.empty() && Has(exposure.held, ip.address);
        const Place place{node->meta.name, ip.address};
        // Of two that exclude each other the older is there first.
        if ((named || kept) && !IsOthers(place, exposure)) {
          Note(place, exposure);
        }
      }
    }
  }
}

// Of two that hold one port, as after a change of their ports, the older stays.
void AddressPool::Note(const Place& place, const Exposure& exposure) {
  Use& use = uses_[place];
  const Name name = NameOf(exposure);
  use.services[name] = exposure.dedicated;
  for (const ServicePort& port : exposure.service.ports) {
    use.ports.try_emplace({port.protocol, port.port}, name);
  }
}

// Somebody else is there, and one of the two wants it alone.
bool AddressPool::IsOthers(const Place& place, const Exposure& exposure) const {
  const auto found = uses_.find(place);
  if (found == uses_.end()) return false;
  const Name name = NameOf(exposure);
  return std::ranges::any_of(found->second.services, [&](const auto& entry) {
    return entry.first != name && (entry.second || exposure.dedicated);
  });
}

bool AddressPool::IsFree(const Place& place, const Exposure& exposure,
                         const Taken& taken, const Occupant& occupant) const {
  if (exposure.dedicated && !occupant(place.edge, place.address).empty()) {
    return false;
  }
  const auto is_taken = [&](const ServicePort& port) {
    return taken(place.edge, place.address, port);
  };
  if (std::ranges::any_of(exposure.service.ports, is_taken)) return false;
  const auto found = uses_.find(place);
  if (found == uses_.end()) return true;
  if (IsOthers(place, exposure)) return false;
  const Name name = NameOf(exposure);
  return std::ranges::none_of(
      exposure.service.ports, [&](const ServicePort& port) {
        const auto owner = found->second.ports.find({port.protocol, port.port});
        return owner != found->second.ports.end() && owner->second != name;
      });
}

std::vector<const EdgeNode*> AddressPool::EdgesFor(
    const Exposure& exposure) const {
  std::vector<const EdgeNode*> edges;
  for (const auto& [name, node] : nodes_) {
    if (exposure.MayUse(*node)) edges.push_back(node);
  }
  return edges;
}

std::variant<AddressPool::Choice, Refusal> AddressPool::Choose(
    const Exposure& exposure, const Taken& taken, const Occupant& occupant) {
  if (exposure.refused) return *exposure.refused;
  const std::vector<const EdgeNode*> edges = EdgesFor(exposure);
  if (edges.empty()) {
    return Refusal{
        reason::kEdgeNodeNotFound,
        exposure.edges.empty()
            ? fmt::format("{}: no EdgeNode is there for its namespace",
                          Named(exposure))
            : fmt::format("{}: metadata.annotations[{}]: none of {} is an "
                          "EdgeNode that its namespace may use",
                          Named(exposure), exposure.names.edge_nodes(),
                          fmt::join(exposure.edges, ", "))};
  }
  if (!exposure.addresses.empty()) {
    return ChooseNamed(exposure, edges, occupant);
  }

  // Of each edge that is named one address of each family, else of one edge.
  std::vector<std::vector<Place>> groups(1);
  for (const EdgeNode* node : edges) {
    if (!exposure.edges.empty() && !groups.back().empty()) {
      groups.emplace_back();
    }
    for (const PublicIp& ip : node->PublicIps()) {
      groups.back().push_back({node->meta.name, ip.address});
    }
  }
  std::set<Place> chosen;
  for (std::vector<Place>& places : groups) {
    for (const Family family : FamiliesOf(exposure.service)) {
      const Place* best = Best(exposure, places, family, taken, occupant);
      if (best == nullptr) continue;
      const std::string edge = best->edge;
      chosen.insert(*best);
      // The other family's address belongs beside it.
      std::erase_if(places,
                    [&](const Place& place) { return place.edge != edge; });
    }
  }
  if (chosen.empty()) {
    return Refusal{reason::kNoFreePublicIp,
                   fmt::format("{}: no public address has {} free{}",
                               Named(exposure), PortsText(exposure.service),
                               WhyNotAlone(exposure, edges, occupant))};
  }
  std::set<std::string> names;
  Choice choice;
  for (const Place& place : chosen) {
    Note(place, exposure);
    choice.addresses.push_back(place.address);
    if (names.insert(place.edge).second) choice.edges.push_back(place.edge);
  }
  return choice;
}

std::string AddressPool::WhyNotAlone(const Exposure& exposure,
                                     const std::vector<const EdgeNode*>& edges,
                                     const Occupant& occupant) {
  if (!exposure.dedicated) return "";
  for (const EdgeNode* node : edges) {
    for (const PublicIp& ip : node->PublicIps()) {
      const std::string who = occupant(node->meta.name, ip.address);
      if (who.empty()) continue;
      return fmt::format(
          " and nobody on it: {} listens on {} of EdgeNode {}, "
          "and is older",
          who, ip.address.ToString(), node->meta.name);
    }
  }
  return " and nobody on it";
}

std::variant<AddressPool::Choice, Refusal> AddressPool::ChooseNamed(
    const Exposure& exposure, const std::vector<const EdgeNode*>& edges,
    const Occupant& occupant) const {
  Choice choice{.addresses = exposure.addresses};
  for (const IpAddress& address : exposure.addresses) {
    bool is_there = false;
    for (const EdgeNode* node : edges) {
      const auto ips = node->PublicIps();
      if (std::ranges::find(ips, address, &PublicIp::address) == ips.end()) {
        continue;
      }
      is_there = true;
      if (IsOthers({node->meta.name, address}, exposure)) {
        return Refusal{reason::kNoFreePublicIp,
                       fmt::format("{}: metadata.annotations[{}]: {} is "
                                   "another Service's alone, or to be",
                                   Named(exposure), exposure.names.public_ip(),
                                   address.ToString())};
      }
      const std::string who =
          exposure.dedicated ? occupant(node->meta.name, address) : "";
      if (!who.empty()) {
        return Refusal{reason::kNoFreePublicIp,
                       fmt::format("{}: metadata.annotations[{}]: {} of "
                                   "EdgeNode {} cannot be its alone: {} "
                                   "listens there, and is older",
                                   Named(exposure), exposure.names.public_ip(),
                                   address.ToString(), node->meta.name, who)};
      }
      if (std::ranges::find(choice.edges, node->meta.name) ==
          choice.edges.end()) {
        choice.edges.push_back(node->meta.name);
      }
    }
    if (is_there) continue;
    return Refusal{reason::kPublicIpNotOnEdge,
                   fmt::format("{}: metadata.annotations[{}]: {} is not an "
                               "address of an EdgeNode that it may use",
                               Named(exposure), exposure.names.public_ip(),
                               address.ToString())};
  }
  return choice;
}

const AddressPool::Place* AddressPool::Best(const Exposure& exposure,
                                            const std::vector<Place>& places,
                                            Family family, const Taken& taken,
                                            const Occupant& occupant) const {
  const Place* best = nullptr;
  std::tuple<bool, size_t> best_rank;
  for (const Place& place : places) {
    if (place.address.family() != family) continue;
    if (!IsFree(place, exposure, taken, occupant)) continue;
    const auto use = uses_.find(place);
    const std::tuple rank{
        !Has(exposure.held, place.address),
        use == uses_.end() ? size_t{0} : use->second.services.size()};
    if (best != nullptr && best_rank <= rank) continue;
    best = &place;
    best_rank = rank;
  }
  return best;
}

}  // namespace edged::agent
