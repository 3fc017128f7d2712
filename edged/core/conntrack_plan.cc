#include "edged/core/conntrack_plan.h"

#include <linux/netfilter/nf_conntrack_common.h>

#include <algorithm>

namespace edged::edge {
namespace {

using netlink::FlowFilter;
using End = netlink::FlowFilter::End;

// With more to look for than this, one look at everything is cheaper: the
// kernel walks its whole table for each (51,000 flows: 29 ms, all: 125 ms).
constexpr size_t kMostFilters = 4;

constexpr auto kUdpNumber = static_cast<uint8_t>(Protocol::kUdp);

}  // namespace

StaleFlows::StaleFlows(const EdgeModel& model, const HostFacts& facts,
                       const std::set<std::string>& long_dead)
    : model_(model), health_(facts.health) {
  for (const Family family : facts.families()) {
    overlays_.push_back(*facts.OverlayOf(family));
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
  if (translated && IsMappingAddress(reply.source)) {
    const bool answered = (flow.status & IPS_SEEN_REPLY) != 0;
    return IsStaleVia(reply.source, {original.source, original.destination,
                                     original.destination_port, protocol,
                                     protocol == Protocol::kTcp && answered});
  }
  const bool came_back = reply.destination != original.source;
  if (came_back && IsMappingAddress(original.source)) {
    return IsStaleVia(original.source, {original.destination, reply.destination,
                                        original.source_port, protocol,
                                        protocol == Protocol::kTcp});
  }
  // Somebody else's translation, of a port that is mapped, is theirs.
  if (protocol == Protocol::kTcp || translated || came_back) return false;
  return GroupAt({original.source, original.destination,
                  original.destination_port, protocol}) != nullptr;
}

// Also of an uplink that is removed; of the edge itself and of an uplink's own
// address others may make what they like.
bool StaleFlows::IsMappingAddress(const IpAddress& address) const {
  return std::ranges::any_of(
      overlays_, [&address](const protocol::Overlay& overlay) {
        const IpPrefix edge = overlay.BlockPrefix(0);
        const IpPrefix block(address, edge.length());
        return overlay.network().Contains(address) && block != edge &&
               block.address() != address;
      });
}

bool StaleFlows::IsStaleVia(const IpAddress& mapping_address,
                            const Door& door) const {
  const auto found = targets_.find(mapping_address);
  if (found == targets_.end()) return true;  // its uplink is removed
  const Target& target = found->second;
  if (door.connected) return target.long_dead;

  const protocol::Group* group = GroupAt(door);
  if (!group || group->public_address != target.public_address) return true;
  if (!group->access.Admits(door.client)) return true;
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

FlowSearch FlowSearch::Everywhere() {
  FlowSearch search;
  search.everywhere_ = true;
  return search;
}

FlowSearch FlowSearch::Unserving() {
  FlowSearch search;
  search.unserving_ = true;
  return search;
}

FlowSearch FlowSearch::After(const EdgeModel& before,
                             const protocol::EdgeDelta& accepted) {
  const bool regroups = std::ranges::any_of(
      accepted.groups, [&before](const protocol::Group& group) {
        return before.groups().contains(group.name);
      });
  if (accepted.settings || regroups || !accepted.uplinks.empty() ||
      !accepted.removed_uplinks.empty()) {
    return Everywhere();
  }
  FlowSearch search;
  for (const auto& listener : accepted.removed_mappings) {
    search.AddDoor(listener, true);
  }
  for (const auto& mapping : accepted.mappings) {
    search.AddDoor(mapping.listener,
                   before.FindMapping(mapping.listener) != nullptr);
  }
  return search;
}

void FlowSearch::AddDoor(const protocol::Listener& listener, bool was_mapped) {
  // A mapping alone never ends a TCP connection.
  if (listener.protocol != Protocol::kUdp || everywhere_) return;
  doors_[listener] |= was_mapped;
  if (doors_.size() <= kMostFilters) return;
  *this = Everywhere();
}

void FlowSearch::Add(const FlowSearch& other) {
  everywhere_ |= other.everywhere_;
  unserving_ |= other.unserving_;
  for (const auto& [door, was_mapped] : other.doors_) AddDoor(door, was_mapped);
}

std::optional<std::set<FlowFilter>> FlowSearch::Filters(
    const EdgeModel& model, const HostFacts& facts) const {
  if (everywhere_) return std::nullopt;
  std::set<FlowFilter> filters;
  for (const auto& [door, was_mapped] : doors_) {
    const auto nic = facts.nic_addresses.find(door.public_address);
    if (nic == facts.nic_addresses.end()) continue;  // nothing arrives there
    const uint16_t port = door.ports.is_single() ? door.ports.first : 0;
    filters.insert(
        {End::kOriginalDestination, nic->second.nic, kUdpNumber, port});
    if (!was_mapped) continue;
    filters.insert({End::kReplyDestination, nic->second.nic, kUdpNumber, port});
  }
  if (unserving_) {
    for (const auto& [name, uplink] : model.uplinks()) {
      const Health health = HealthOf(facts.health, name);
      if (health == Health::kAlive || health == Health::kDraining) continue;
      for (const auto& address : model.settings().public_addresses) {
        const auto* overlay = facts.OverlayOf(address.address.family());
        if (!overlay) continue;
        const IpAddress mapping =
            overlay->MappingAddress(uplink.block, address.index);
        filters.insert({End::kReplySource, mapping});
        filters.insert({End::kOriginalSource, mapping});
      }
    }
  }
  if (filters.size() > kMostFilters) return std::nullopt;
  return filters;
}

}  // namespace edged::edge
