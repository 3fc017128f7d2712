#include "clusteragent/core/object_store.h"

#include <algorithm>
#include <utility>

#include "clusteragent/core/consent.h"
#include "clusteragent/core/exposure.h"

namespace edged::agent {
namespace {

using Name = ObjectStore::Name;

Name NameOf(const ObjectMeta& meta) { return {meta.name_space, meta.name}; }

// Whether `objects` has become another.
template <typename Key, typename T>
bool Put(const Key& key, const T& object, std::map<Key, T>& objects) {
  const auto [found, is_new] = objects.try_emplace(key, object);
  if (is_new) return true;
  if (found->second == object) return false;
  found->second = object;
  return true;
}

// Of a kind that has no namespaces.
template <typename T>
std::map<std::string, T> Named(std::vector<T> objects) {
  std::map<std::string, T> named;
  for (T& object : objects) {
    std::string name = object.meta.name;
    named.emplace(std::move(name), std::move(object));
  }
  return named;
}

// Calls `differs` with the key of each value that only one has, or that is
// another in both, and with the values; nullptr: there is none.
template <typename Key, typename T, typename Differs>
void Compare(const std::map<Key, T>& before, const std::map<Key, T>& after,
             Differs differs) {
  for (const auto& [key, value] : before) {
    const auto now = after.find(key);
    if (now == after.end()) {
      differs(key, &value, static_cast<const T*>(nullptr));
    } else if (now->second != value) {
      differs(key, &value, &now->second);
    }
  }
  for (const auto& [key, value] : after) {
    if (!before.contains(key)) {
      differs(key, static_cast<const T*>(nullptr), &value);
    }
  }
}

// Of those that `there` does not have.
template <typename T>
std::vector<Name> Gone(const std::map<Name, T>& held,
                       const std::set<Name>& there) {
  std::vector<Name> gone;
  for (const auto& [name, object] : held) {
    if (!there.contains(name)) gone.push_back(name);
  }
  return gone;
}

template <typename Key, typename T>
const std::vector<T>& Find(const std::map<Key, std::vector<T>>& lists,
                           const Key& key) {
  static const std::vector<T> kNone;
  const auto found = lists.find(key);
  return found == lists.end() ? kNone : found->second;
}

}  // namespace

void ObjectStore::UseCluster(const AnnotationNames& annotations) {
  if (has_cluster_ && annotations_ == annotations) return;
  has_cluster_ = true;
  annotations_ = annotations;
  changes_.everything = true;
}

void ObjectStore::SetEdgeNodes(std::vector<EdgeNode> nodes) {
  auto named = Named(std::move(nodes));
  if (named == edge_nodes_) return;
  edge_nodes_ = std::move(named);
  changes_.everything = true;
}

// Others write labels and annotations that mean nothing here.
void ObjectStore::SetNamespaces(std::vector<Namespace> namespaces) {
  auto named = Named(std::move(namespaces));
  Compare(namespaces_, named,
          [this](const std::string& name, const Namespace* before,
                 const Namespace* after) {
            const auto is = [this](const Namespace* one, auto what) {
              return one != nullptr && what(*one, annotations_);
            };
            if (is(before, IsExposed) != is(after, IsExposed)) {
              changes_.everything = true;
            }
            if (is(before, IsOpen) != is(after, IsOpen)) {
              changes_.consents.insert(name);
            }
          });
  namespaces_ = std::move(named);
}

void ObjectStore::SetGrants(const std::vector<ReferenceGrant>& grants) {
  std::map<std::string, std::vector<ReferenceGrant>> held;
  for (const ReferenceGrant& grant : grants) {
    held[grant.meta.name_space].push_back(grant);
  }
  Compare(grants_, held, [this](const std::string& name, auto, auto) {
    changes_.consents.insert(name);
  });
  grants_ = std::move(held);
}

void ObjectStore::Put(const PortBinding& object) {
  const Name name = NameOf(object.meta);
  if (agent::Put(name, object, port_bindings_)) {
    changes_.port_bindings.insert(name);
  }
}

void ObjectStore::RemovePortBinding(const Name& name) {
  if (port_bindings_.erase(name) > 0) changes_.port_bindings.insert(name);
}

void ObjectStore::Put(const Service& service) {
  const Name name = NameOf(service.meta);
  if (!agent::Put(name, service, services_)) return;
  changes_.services.insert(name);
  NoteAddresses(name);
}

void ObjectStore::RemoveService(const Name& name) {
  if (services_.erase(name) == 0) return;
  changes_.services.insert(name);
  NoteAddresses(name);
}

void ObjectStore::SetSlices(const Name& service,
                            std::vector<EndpointSlice> slices) {
  if (SlicesOf(service) == slices) return;
  if (slices.empty()) {
    slices_.erase(service);
  } else {
    slices_[service] = std::move(slices);
  }
  changes_.services.insert(service);
  NoteAddresses(service);
}

void ObjectStore::NoteAddresses(const Name& service) {
  const auto found = services_.find(service);
  changes_.addresses.merge(addresses_.Note(
      service, found == services_.end() ? nullptr : &found->second,
      SlicesOf(service)));
}

void ObjectStore::Replace(const World& world) {
  SetEdgeNodes(world.edge_nodes);
  std::set<Name> there;
  for (const PortBinding& object : world.port_bindings) {
    there.insert(NameOf(object.meta));
    Put(object);
  }
  for (const Name& name : Gone(port_bindings_, there)) RemovePortBinding(name);
  if (!world.cluster) return;
  const Cluster& cluster = *world.cluster;
  UseCluster(cluster.annotations);
  SetNamespaces(cluster.namespaces);
  SetGrants(cluster.grants);
  there.clear();
  for (const Service& service : cluster.services) {
    there.insert(NameOf(service.meta));
    Put(service);
  }
  for (const Name& name : Gone(services_, there)) RemoveService(name);
  std::map<Name, std::vector<EndpointSlice>> slices;
  for (const EndpointSlice& slice : cluster.slices) {
    slices[{slice.meta.name_space, slice.service}].push_back(slice);
  }
  there.clear();
  for (auto& [service, list] : slices) {
    there.insert(service);
    SetSlices(service, std::move(list));
  }
  for (const Name& service : Gone(slices_, there)) SetSlices(service, {});
}

const std::vector<EndpointSlice>& ObjectStore::SlicesOf(
    const Name& service) const {
  return Find(slices_, service);
}

const std::vector<ReferenceGrant>& ObjectStore::GrantsOf(
    const std::string& name_space) const {
  return Find(grants_, name_space);
}

World ObjectStore::EdgeWorld() const {
  World world;
  for (const auto& [name, node] : edge_nodes_) world.edge_nodes.push_back(node);
  return world;
}

}  // namespace edged::agent
