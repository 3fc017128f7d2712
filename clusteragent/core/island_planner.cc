#include "clusteragent/core/island_planner.h"

#include <algorithm>
#include <utility>

namespace edged::agent {
namespace {

using Name = ObjectStore::Name;

// Puts `now` in the place of the entry of its key; whether it is another.
template <typename T, typename Key>
bool Put(std::vector<T>& list, T now, Key T::*key) {
  const auto found = std::ranges::lower_bound(list, now.*key, {}, key);
  if (found == list.end() || (*found).*key != now.*key) {
    list.insert(found, std::move(now));
    return true;
  }
  if (*found == now) return false;
  *found = std::move(now);
  return true;
}

template <typename T, typename Key>
bool Erase(std::vector<T>& list, const Key& key, Key T::*member) {
  const auto found = std::ranges::lower_bound(list, key, {}, member);
  if (found == list.end() || (*found).*member != key) return false;
  list.erase(found);
  return true;
}

template <typename T, typename Key>
std::set<Key> KeysOf(const std::vector<T>& list, Key T::*member) {
  std::set<Key> keys;
  for (const T& entry : list) keys.insert(entry.*member);
  return keys;
}

// Calls `differs` with the key of each entry that only one has, or that is
// another in both.
template <typename T, typename Key, typename Differs>
void Compare(const std::vector<T>& before, const std::vector<T>& after,
             Key T::*key, Differs differs) {
  auto old_entry = before.begin();
  auto new_entry = after.begin();
  while (old_entry != before.end() || new_entry != after.end()) {
    if (new_entry == after.end() ||
        (old_entry != before.end() && (*old_entry).*key < (*new_entry).*key)) {
      differs((*old_entry++).*key);
    } else if (old_entry == before.end() ||
               (*new_entry).*key < (*old_entry).*key) {
      differs((*new_entry++).*key);
    } else {
      if (*old_entry != *new_entry) differs((*new_entry).*key);
      ++old_entry;
      ++new_entry;
    }
  }
}

}  // namespace

IslandPlanner::Difference IslandPlanner::Replan(const ObjectStore& objects,
                                                const Allocation& allocation,
                                                const Facts& facts) {
  const bool same_ground =
      allocation_ && *allocation_ == allocation && facts_ == facts;
  if (!same_ground) {
    allocation_ = allocation;
    facts_ = facts;
  }
  const ObjectStore::Changes& changes = objects.changes();
  const auto touched = same_ground ? islands_.Update(objects, changes)
                                   : std::optional<std::set<Islands::Id>>();
  if (!touched) return PlanEverything(objects);
  Difference difference;
  for (const Islands::Id id : *touched) {
    PlanIsland(objects, islands_.islands().at(id), difference);
  }
  // What stands on no island any more.
  const auto forget = [&](const ObjectKey& key) {
    if (Erase(plan_.port_bindings, key, &PlannedObject::key)) {
      difference.objects.insert(key);
    }
  };
  for (const Name& name : changes.port_bindings) {
    if (objects.port_bindings().contains(name)) continue;
    forget({Kind::kPortBinding, name.first, name.second});
  }
  for (const Name& name : changes.services) {
    const ObjectKey key{Kind::kService, name.first, name.second};
    if (!islands_.Has(key)) forget(key);
  }
  return difference;
}

IslandPlanner::Difference IslandPlanner::PlanEverything(
    const ObjectStore& objects) {
  islands_.Build(objects);
  const Plan before = std::exchange(plan_, Plan());
  for (const auto& [id, island] : islands_.islands()) {
    Plan plan = MakePlan(WorldOf(objects, island), *allocation_, facts_);
    std::ranges::move(plan.edges, std::back_inserter(plan_.edges));
    std::ranges::move(plan.edge_nodes, std::back_inserter(plan_.edge_nodes));
    std::ranges::move(plan.port_bindings,
                      std::back_inserter(plan_.port_bindings));
  }
  std::ranges::sort(plan_.edges, {}, &EdgePlan::edge);
  std::ranges::sort(plan_.edge_nodes, {}, &PlannedEdge::key);
  std::ranges::sort(plan_.port_bindings, {}, &PlannedObject::key);
  Difference difference;
  Compare(before.edges, plan_.edges, &EdgePlan::edge,
          [&](const std::string& edge) { difference.edges.insert(edge); });
  const auto differs = [&](const ObjectKey& key) {
    difference.objects.insert(key);
  };
  Compare(before.edge_nodes, plan_.edge_nodes, &PlannedEdge::key, differs);
  Compare(before.port_bindings, plan_.port_bindings, &PlannedObject::key,
          differs);
  return difference;
}

void IslandPlanner::PlanIsland(const ObjectStore& objects,
                               const Islands::Island& island,
                               Difference& difference) {
  Plan plan = MakePlan(WorldOf(objects, island), *allocation_, facts_);
  for (EdgePlan& edge : plan.edges) {
    std::string name = edge.edge;
    if (Put(plan_.edges, std::move(edge), &EdgePlan::edge)) {
      difference.edges.insert(std::move(name));
    }
  }
  for (PlannedEdge& node : plan.edge_nodes) {
    const ObjectKey key = node.key;
    if (Put(plan_.edge_nodes, std::move(node), &PlannedEdge::key)) {
      difference.objects.insert(key);
    }
  }
  const std::set<ObjectKey> planned =
      KeysOf(plan.port_bindings, &PlannedObject::key);
  for (const ObjectKey& key : island.objects) {
    if (planned.contains(key)) continue;  // else it is being deleted
    if (Erase(plan_.port_bindings, key, &PlannedObject::key)) {
      difference.objects.insert(key);
    }
  }
  for (PlannedObject& object : plan.port_bindings) {
    const ObjectKey key = object.key;
    if (Put(plan_.port_bindings, std::move(object), &PlannedObject::key)) {
      difference.objects.insert(key);
    }
  }
}

// With the Services that its PortBindings lead to, and what these and their
// addresses rest on.
World IslandPlanner::WorldOf(const ObjectStore& objects,
                             const Islands::Island& island) const {
  World world;
  for (const std::string& edge : island.edges) {
    world.edge_nodes.push_back(objects.edge_nodes().at(edge));
  }
  std::set<Name> services;
  std::set<IpAddress> addresses;
  for (const ObjectKey& key : island.objects) {
    const Name name{key.name_space, key.name};
    if (key.kind == Kind::kService) {
      services.insert(name);
      continue;
    }
    world.port_bindings.push_back(objects.port_bindings().at(name));
    const auto& targets = islands_.TargetsOf(name);
    services.insert(targets.begin(), targets.end());
    const auto& named = islands_.AddressesOf(name);
    addresses.insert(named.begin(), named.end());
  }
  if (!objects.has_cluster()) return world;
  world.cluster = ClusterOf(objects, services, std::move(addresses));
  return world;
}

// `addresses` are those that bindings name.
Cluster IslandPlanner::ClusterOf(const ObjectStore& objects,
                                 const std::set<Name>& services,
                                 std::set<IpAddress> addresses) {
  Cluster cluster{.annotations = objects.annotations()};
  std::set<std::string> namespaces;
  for (const Name& name : services) {
    namespaces.insert(name.first);
    const auto service = objects.services().find(name);
    if (service == objects.services().end()) continue;
    cluster.services.push_back(service->second);
    const auto& slices = objects.SlicesOf(name);
    cluster.slices.insert(cluster.slices.end(), slices.begin(), slices.end());
    const auto& strangers = objects.addresses().strangers().Of(name);
    addresses.insert(strangers.begin(), strangers.end());
  }
  for (const IpAddress& address : addresses) {
    const auto& holders = objects.addresses().HoldersOf(address);
    if (holders.empty()) continue;
    cluster.holders[address] = holders;
    for (const AddressHolder& holder : holders) {
      namespaces.insert(holder.name_space);
    }
  }
  for (const std::string& name : namespaces) {
    const auto found = objects.namespaces().find(name);
    if (found != objects.namespaces().end()) {
      cluster.namespaces.push_back(found->second);
    }
    const auto& grants = objects.GrantsOf(name);
    cluster.grants.insert(cluster.grants.end(), grants.begin(), grants.end());
  }
  return cluster;
}

std::set<ObjectKey> IslandPlanner::ObjectsOf(const std::string& edge) const {
  std::set<ObjectKey> objects{{Kind::kEdgeNode, "", edge}};
  if (const Islands::Island* island = islands_.OfEdge(edge)) {
    objects.insert(island->objects.begin(), island->objects.end());
  }
  return objects;
}

}  // namespace edged::agent
