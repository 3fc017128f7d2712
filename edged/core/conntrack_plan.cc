#include "edged/core/conntrack_plan.h"

#include <algorithm>

namespace edged::edge {

StaleFlows::StaleFlows(const EdgeModel& model, const HostFacts& facts,
                       const std::set<std::string>& long_dead)
    : model_(model), health_(facts.health) {
  for (const Family family : facts.families()) {
    networks_.push_back(facts.OverlayOf(family)->network());
  }
  for (const auto& [address, nic] : facts.nic_addresses) {
    public_addresses_[nic.nic] = address;
  }
  for (const auto& address : model.settings().public_addresses) {
    const auto* overlay = facts.OverlayOf(address.address.family());
    if (!overlay) continue;
    for (const auto& [name, uplink] : model.uplinks()) {
      const IpAddress mapping =
          overlay->MappingAddress(uplink.block, address.index);
      targets_[mapping] = {&uplink, address.address, long_dead.contains(name)};
    }
  }
}

bool StaleFlows::IsStale(const netlink::Flow& flow) const {
  const auto protocol = static_cast<Protocol>(flow.protocol);
  if (protocol != Protocol::kTcp && protocol != Protocol::kUdp) return false;

  const netlink::FlowTuple& original = flow.original;
  const netlink::FlowTuple& reply = flow.reply;
  const bool translated = reply.source != original.destination;
  if (translated && IsOverlay(reply.source)) {
    return IsStaleVia(reply.source, {original.destination,
                                     original.destination_port, protocol});
  }
  const bool came_back = reply.destination != original.source;
  if (came_back && IsOverlay(original.source)) {
    return IsStaleVia(original.source,
                      {reply.destination, original.source_port, protocol});
  }
  if (protocol == Protocol::kTcp) return false;
  return GroupAt({original.destination, original.destination_port, protocol}) !=
         nullptr;
}

bool StaleFlows::IsOverlay(const IpAddress& address) const {
  return std::ranges::any_of(networks_, [&address](const IpPrefix& network) {
    return network.Contains(address);
  });
}

bool StaleFlows::IsStaleVia(const IpAddress& mapping_address,
                            const Door& door) const {
  const auto found = targets_.find(mapping_address);
  if (found == targets_.end()) return true;  // its uplink is removed
  const Target& target = found->second;
  if (door.protocol == Protocol::kTcp) return target.long_dead;

  const protocol::Group* group = GroupAt(door);
  if (!group || group->public_address != target.public_address) return true;
  const auto& members = group->uplinks;
  const auto member = std::ranges::find(members, target.uplink->name);
  if (member == members.end()) return true;
  if (HealthOf(health_, *member) == Health::kDraining) return false;
  return !ServingOf(*group, health_)[member - members.begin()];
}

const protocol::Group* StaleFlows::GroupAt(const Door& door) const {
  const auto address = public_addresses_.find(door.nic);
  if (address == public_addresses_.end()) return nullptr;
  return model_.FindMappingAt(address->second, door.protocol, door.port);
}

}  // namespace edged::edge
