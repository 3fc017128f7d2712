#include "clusteragent/core/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>
#include <utility>
#include <variant>

#include "clusteragent/core/address_pool.h"
#include "clusteragent/core/exposure.h"
#include "clusteragent/core/placer.h"
#include "clusteragent/core/stable_hash.h"

namespace edged::agent {
namespace {

constexpr size_t kGroupDigits = 12;

// Without timeouts, access and holders as it was before there were any.
std::string GroupName(const IpAddress& public_address,
                      protocol::Affinity affinity, const Selector& selector,
                      const PlannedMapping& planned) {
  const protocol::Timeouts& timeouts = planned.timeouts;
  std::vector<std::string> definition = {
      public_address.ToString(), fmt::format("{}", static_cast<int>(affinity)),
      selector.ToString()};
  if (!timeouts.empty()) {
    definition.push_back(fmt::format("tcp {} udp {}", timeouts.tcp_idle.count(),
                                     timeouts.udp_session.count()));
  }
  if (!planned.access.empty()) {
    definition.push_back("access " + planned.access.ToString());
  }
  if (planned.holders) {
    definition.push_back("holders of " + planned.holders->target);
  }
  return "g-" + StableHash(definition, kGroupDigits);
}

protocol::Settings SettingsOf(const EdgeNode& node, const EdgeRecord& record) {
  protocol::Settings settings{
      .mtu = node.tunnel.mtu,
      .heartbeat_interval = node.health_check.interval,
      .unhealthy_threshold = node.health_check.unhealthy_threshold,
      .network6 = record.network6};
  for (const PublicIp& ip : node.PublicIps()) {
    const auto index = record.IndexOf(ip.address);
    if (!index) continue;
    settings.public_addresses.push_back({.address = ip.address,
                                         .interface = ip.interface,
                                         .nic_address = ip.nic_address,
                                         .index = *index});
  }
  std::ranges::sort(settings.public_addresses);
  return settings;
}

std::vector<protocol::Uplink> UplinksOf(const EdgeNode& node,
                                        const EdgeRecord& record,
                                        const Facts& facts) {
  std::vector<protocol::Uplink> uplinks;
  for (const UplinkFacts& uplink : facts.uplinks) {
    const auto block = record.blocks.Find(uplink.name);
    const auto key = uplink.keys.find(node.meta.name);
    if (!block || key == uplink.keys.end()) continue;
    uplinks.push_back({uplink.name, key->second, *block});
  }
  std::ranges::sort(uplinks);
  return uplinks;
}

// Of those that the edge has.
std::vector<std::string> MembersOf(const PlannedMapping& planned,
                                   const std::vector<std::string>& uplinks) {
  if (!planned.holders) return uplinks;
  std::vector<std::string> members;
  std::ranges::set_intersection(uplinks, planned.holders->uplinks,
                                std::back_inserter(members));
  return members;
}

// Every public address that is mapped has one group of all uplinks for each
// choice of timeouts and access, and one of its holders for each target that
// is to see its clients.
void FillGroups(const EdgeNode& node, EdgePlan& plan) {
  std::vector<std::string> uplinks;
  for (const protocol::Uplink& uplink : plan.wanted.uplinks) {
    uplinks.push_back(uplink.name);
  }
  using Definition =
      std::tuple<IpAddress, protocol::Timeouts, protocol::Access, std::string>;
  std::map<Definition, std::string> names;  // of a hash each
  for (PlannedMapping& planned : plan.mappings) {
    const IpAddress& address = planned.mapping.listener.public_address;
    std::string& name = names[{address, planned.timeouts, planned.access,
                               planned.holders ? planned.holders->target : ""}];
    if (name.empty()) {
      name = GroupName(address, protocol::Affinity::kNone, node.uplink_selector,
                       planned);
      plan.wanted.groups.push_back({.name = name,
                                    .public_address = address,
                                    .uplinks = MembersOf(planned, uplinks),
                                    .timeouts = planned.timeouts,
                                    .access = planned.access});
    }
    planned.mapping.group = name;
  }
  std::ranges::sort(plan.wanted.groups, {}, &protocol::Group::name);
}

EdgePlan PlanEdge(const EdgeNode& node, const Records& records,
                  const Facts& facts, std::vector<PlannedMapping> mappings) {
  const EdgeRecord& record = records.edges.at(node.meta.name);
  EdgePlan plan{.edge = node.meta.name,
                .uid = node.meta.uid,
                .address = node.address,
                .listen_port = record.listen_port,
                .network = record.network,
                .keepalive_seconds = node.tunnel.persistent_keepalive,
                .mtu = node.tunnel.mtu,
                .number = records.numbers.Find(node.meta.name).value_or(0),
                .own_block = record.blocks.Find(facts.own_uplink).value_or(0),
                .mappings = std::move(mappings)};
  plan.wanted.settings = SettingsOf(node, record);
  plan.wanted.uplinks = UplinksOf(node, record, facts);
  FillGroups(node, plan);
  for (const PlannedMapping& planned : plan.mappings) {
    plan.wanted.mappings.push_back(planned.mapping);
  }
  return plan;
}

// Of an exposed Service that gets no address.
PlannedObject Refused(const Exposure& exposure, const Refusal& refusal) {
  const ObjectMeta& meta = exposure.service.meta;
  return {.key = {Kind::kService, meta.name_space, meta.name},
          .generation = meta.generation,
          .refused = refusal};
}

// Where a Service is to be alone: of an address that an edge does not have
// nobody asks.
void Dedicate(const std::vector<std::string>& edges,
              const std::vector<IpAddress>& addresses, const ObjectKey& owner,
              Placer& placer) {
  for (const std::string& edge : edges) {
    for (const IpAddress& address : addresses) {
      placer.Dedicate(edge, address, owner);
    }
  }
}

// PortBindings and exposed Services, the oldest first; of the same age a
// PortBinding.
std::vector<PlannedObject> PlaceByAge(const World& world, Placer& placer) {
  std::vector<Exposure> exposures;
  if (world.cluster) exposures = FindExposures(*world.cluster);
  AddressPool pool(world.edge_nodes, exposures);
  const auto taken = [&placer](const std::string& edge,
                               const IpAddress& address,
                               const ServicePort& port) {
    return placer.IsTaken(edge,
                          {address, port.protocol, {port.port, port.port}});
  };
  const auto occupant = [&placer](const std::string& edge,
                                  const IpAddress& address) {
    return placer.HolderOf(edge, address);
  };
  std::vector<const PortBinding*> by_age;
  for (const PortBinding& object : world.port_bindings) {
    if (!object.meta.deleting) by_age.push_back(&object);
  }
  std::ranges::sort(by_age, [](const PortBinding* a, const PortBinding* b) {
    return IsOlder(a->meta, b->meta);
  });
  std::vector<PlannedObject> planned;
  auto object = by_age.begin();
  const auto place_objects_before = [&](const ObjectMeta* meta) {
    while (object != by_age.end() &&
           (meta == nullptr || !IsOlder(*meta, (*object)->meta))) {
      planned.push_back(placer.Place(**object++));
    }
  };
  for (const Exposure& exposure : exposures) {
    place_objects_before(&exposure.service.meta);
    const auto choice = pool.Choose(exposure, taken, occupant);
    if (const auto* refusal = std::get_if<Refusal>(&choice)) {
      planned.push_back(Refused(exposure, *refusal));
      continue;
    }
    const auto& [edges, addresses] = std::get<AddressPool::Choice>(choice);
    const PortBinding binding = BindingOf(exposure, edges, addresses);
    if (exposure.dedicated) Dedicate(edges, addresses, binding.Key(), placer);
    planned.push_back(placer.Place(binding));
  }
  place_objects_before(nullptr);
  return planned;
}

// In a list that is sorted by `member`; nullptr: it has none.
template <typename T, typename Key>
const T* Find(const std::vector<T>& list, const Key& key, Key T::*member) {
  const auto found = std::ranges::lower_bound(list, key, {}, member);
  return found == list.end() || (*found).*member != key ? nullptr : &*found;
}

}  // namespace

std::string BindingRef::ToString() const {
  return fmt::format("{}/{}/{}", name_space, object, binding);
}

const EdgePlan* Plan::Edge(const std::string& name) const {
  return Find(edges, name, &EdgePlan::edge);
}

const PlannedEdge* Plan::EdgeNode(const ObjectKey& key) const {
  return Find(edge_nodes, key, &PlannedEdge::key);
}

const PlannedObject* Plan::Object(const ObjectKey& key) const {
  return Find(port_bindings, key, &PlannedObject::key);
}

Plan MakePlan(const World& world, const Allocation& allocation,
              const Facts& facts) {
  const Records& records = allocation.records;
  Plan plan;
  Placer placer(world, records, facts);
  plan.port_bindings = PlaceByAge(world, placer);
  std::ranges::sort(plan.port_bindings, {}, &PlannedObject::key);

  for (const EdgeNode& node : world.edge_nodes) {
    PlannedEdge& edge = plan.edge_nodes.emplace_back();
    edge.key = node.Key();
    edge.generation = node.meta.generation;
    edge.deleting = node.meta.deleting;
    const auto problems = allocation.problems.find(node.meta.name);
    if (problems != allocation.problems.end()) edge.problems = problems->second;
    if (!records.edges.contains(node.meta.name)) continue;
    plan.edges.push_back(
        PlanEdge(node, records, facts, placer.TakeGranted(node.meta.name)));
  }
  std::ranges::sort(plan.edge_nodes, {}, &PlannedEdge::key);
  std::ranges::sort(plan.edges, {}, &EdgePlan::edge);
  return plan;
}

}  // namespace edged::agent
