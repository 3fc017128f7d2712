#include "clusteragent/core/islands.h"

#include <algorithm>
#include <utility>

#include "clusteragent/core/exposure.h"

namespace edged::agent {
namespace {

using Name = ObjectStore::Name;

ObjectKey KeyOf(Kind kind, const Name& name) {
  return {kind, name.first, name.second};
}

std::set<Name> TargetsIn(const PortBinding& object) {
  std::set<Name> targets;
  for (const Binding& binding : object.bindings) {
    if (!binding.target.service) continue;
    const ServiceRef& service = *binding.target.service;
    targets.emplace(service.name_space.empty() ? object.meta.name_space
                                               : service.name_space,
                    service.name);
  }
  return targets;
}

std::set<IpAddress> AddressesIn(const PortBinding& object) {
  std::set<IpAddress> addresses;
  for (const Binding& binding : object.bindings) {
    if (!binding.target.address) continue;
    const auto address = IpAddress::Parse(*binding.target.address);
    if (address.ok()) addresses.insert(*address);
  }
  return addresses;
}

std::vector<std::string> EdgesOf(const ObjectStore& objects,
                                 const PortBinding& object) {
  std::vector<std::string> edges;
  for (const auto& [name, node] : objects.edge_nodes()) {
    if (object.Selects(node)) edges.push_back(name);
  }
  return edges;
}

std::vector<std::string> EdgesOf(const ObjectStore& objects,
                                 const Exposure& exposure) {
  std::vector<std::string> edges;
  for (const auto& [name, node] : objects.edge_nodes()) {
    if (exposure.MayUse(node)) edges.push_back(name);
  }
  return edges;
}

bool IsExposedByNamespace(const ObjectStore& objects,
                          const std::string& name_space) {
  const auto found = objects.namespaces().find(name_space);
  return found != objects.namespaces().end() &&
         IsExposed(found->second, objects.annotations());
}

// Unset: it is none, or goes.
std::optional<Exposure> ExposureOf(const ObjectStore& objects,
                                   const Name& name) {
  const auto found = objects.services().find(name);
  if (found == objects.services().end() || found->second.meta.deleting) {
    return std::nullopt;
  }
  return ReadExposure(found->second, objects.annotations(),
                      IsExposedByNamespace(objects, name.first));
}

}  // namespace

void Islands::Build(const ObjectStore& objects) {
  islands_.clear();
  by_edge_.clear();
  by_object_.clear();
  targets_ = {};
  addresses_ = {};
  for (const auto& [name, node] : objects.edge_nodes()) {
    by_edge_[name] = next_;
    islands_[next_++].edges.insert(name);
  }
  for (const auto& [name, object] : objects.port_bindings()) {
    Add(object.Key(), Join(IslandsOf(EdgesOf(objects, object))));
    targets_.Set(name, TargetsIn(object));
    addresses_.Set(name, AddressesIn(object));
  }
  for (const auto& [name, service] : objects.services()) {
    const auto exposure = ExposureOf(objects, name);
    if (!exposure) continue;
    const ObjectKey key = KeyOf(Kind::kService, name);
    std::set<Id> ids = IslandsOf(EdgesOf(objects, *exposure));
    AddUsers(name, ids);
    Add(key, Join(ids));
  }
}

std::optional<std::set<Islands::Id>> Islands::Update(
    const ObjectStore& objects, const ObjectStore::Changes& changes) {
  if (changes.everything) return std::nullopt;
  std::set<Id> touched;
  for (const Name& name : changes.port_bindings) {
    if (!Touch(objects, name, touched)) return std::nullopt;
  }
  for (const Name& name : changes.services) {
    if (!TouchService(objects, name, touched)) return std::nullopt;
  }
  for (const Name& name : ServicesOn(objects, changes)) {
    if (!TouchService(objects, name, touched)) return std::nullopt;
  }
  for (const Name& name : PortBindingsOn(objects, changes)) {
    AddIslandOf(KeyOf(Kind::kPortBinding, name), touched);
  }
  std::erase_if(touched, [this](Id id) { return !islands_.contains(id); });
  return touched;
}

bool Islands::Touch(const ObjectStore& objects, const Name& port_binding,
                    std::set<Id>& touched) {
  const ObjectKey key = KeyOf(Kind::kPortBinding, port_binding);
  const auto found = objects.port_bindings().find(port_binding);
  if (found == objects.port_bindings().end()) {
    targets_.Set(port_binding, {});
    addresses_.Set(port_binding, {});
    Leave(key, touched);
    return true;
  }
  std::set<Name> targets = TargetsIn(found->second);
  std::set<Id> neighbours = IslandsOf(EdgesOf(objects, found->second));
  for (const Name& target : targets) {
    AddIslandOf(KeyOf(Kind::kService, target), neighbours);
  }
  targets_.Set(port_binding, std::move(targets));
  addresses_.Set(port_binding, AddressesIn(found->second));
  return Settle(key, neighbours, touched);
}

bool Islands::TouchService(const ObjectStore& objects, const Name& service,
                           std::set<Id>& touched) {
  const ObjectKey key = KeyOf(Kind::kService, service);
  std::set<Id> users;
  AddUsers(service, users);
  touched.insert(users.begin(), users.end());
  const auto exposure = ExposureOf(objects, service);
  if (!exposure) {
    Leave(key, touched);
    return true;
  }
  std::set<Id> neighbours = IslandsOf(EdgesOf(objects, *exposure));
  neighbours.merge(users);
  return Settle(key, neighbours, touched);
}

bool Islands::Settle(const ObjectKey& object, const std::set<Id>& neighbours,
                     std::set<Id>& touched) {
  if (neighbours.size() > 1) return false;
  const auto before = by_object_.find(object);
  if (before != by_object_.end() && neighbours.contains(before->second)) {
    touched.insert(before->second);
    return true;
  }
  Leave(object, touched);
  const Id id = Join(neighbours);
  Add(object, id);
  touched.insert(id);
  return true;
}

void Islands::Leave(const ObjectKey& object, std::set<Id>& touched) {
  const auto found = by_object_.find(object);
  if (found == by_object_.end()) return;
  const Id id = found->second;
  Island& island = islands_.at(id);
  island.objects.erase(object);
  by_object_.erase(found);
  touched.insert(id);
  if (island.edges.empty() && island.objects.empty()) islands_.erase(id);
}

// A namespace that consents, or does not any more, is asked for its Services
// and for its addresses.
std::set<Name> Islands::ServicesOn(const ObjectStore& objects,
                                   const ObjectStore::Changes& changes) const {
  const auto& strangers = objects.addresses().strangers();
  std::set<Name> services;
  for (const IpAddress& address : changes.addresses) {
    const std::set<Name>& namers = strangers.UsersOf(address);
    services.insert(namers.begin(), namers.end());
  }
  for (const std::string& name_space : changes.consents) {
    const auto& used = targets_.users();
    for (auto at = used.lower_bound({name_space, ""});
         at != used.end() && at->first.first == name_space; ++at) {
      services.insert(at->first);
    }
    for (const auto& [address, namers] : strangers.users()) {
      if (!objects.addresses().Holds(name_space, address)) continue;
      services.insert(namers.begin(), namers.end());
    }
  }
  return services;
}

std::set<Name> Islands::PortBindingsOn(
    const ObjectStore& objects, const ObjectStore::Changes& changes) const {
  std::set<Name> port_bindings;
  const auto add_users = [&](const IpAddress& address) {
    const std::set<Name>& users = addresses_.UsersOf(address);
    port_bindings.insert(users.begin(), users.end());
  };
  for (const IpAddress& address : changes.addresses) add_users(address);
  for (const std::string& name_space : changes.consents) {
    for (const auto& [address, users] : addresses_.users()) {
      if (objects.addresses().Holds(name_space, address)) add_users(address);
    }
  }
  return port_bindings;
}

std::set<Islands::Id> Islands::IslandsOf(
    const std::vector<std::string>& edges) const {
  std::set<Id> ids;
  for (const std::string& edge : edges) ids.insert(by_edge_.at(edge));
  return ids;
}

void Islands::AddIslandOf(const ObjectKey& object, std::set<Id>& ids) const {
  const auto found = by_object_.find(object);
  if (found != by_object_.end()) ids.insert(found->second);
}

void Islands::AddUsers(const Name& service, std::set<Id>& ids) const {
  for (const Name& user : targets_.UsersOf(service)) {
    AddIslandOf(KeyOf(Kind::kPortBinding, user), ids);
  }
}

// Of none a new one.
Islands::Id Islands::Join(const std::set<Id>& ids) {
  if (ids.empty()) {
    islands_[next_];
    return next_++;
  }
  const Id first = *ids.begin();
  for (const Id id : ids) {
    if (id == first) continue;
    const Island island = std::move(islands_.extract(id).mapped());
    for (const std::string& edge : island.edges) by_edge_[edge] = first;
    for (const ObjectKey& object : island.objects) by_object_[object] = first;
    islands_.at(first).edges.insert(island.edges.begin(), island.edges.end());
    islands_.at(first).objects.insert(island.objects.begin(),
                                      island.objects.end());
  }
  return first;
}

void Islands::Add(const ObjectKey& object, Id id) {
  by_object_[object] = id;
  islands_.at(id).objects.insert(object);
}

const Islands::Island* Islands::OfEdge(const std::string& edge) const {
  const auto found = by_edge_.find(edge);
  return found == by_edge_.end() ? nullptr : &islands_.at(found->second);
}

}  // namespace edged::agent
