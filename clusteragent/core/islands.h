#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clusteragent/core/object_store.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/uses.h"

namespace edged::agent {

// A world falls apart into islands: an object stands on that of every edge that
// it may be put on, so nothing of one island has a say on another. An island
// may be larger than it must be. Pure.
class Islands {
 public:
  using Id = size_t;
  struct Island {
    std::set<std::string> edges;  // EdgeNode names
    // PortBindings, and Services that are exposed.
    std::set<ObjectKey> objects;
  };

  // Anew, from all objects.
  void Build(const ObjectStore& objects);
  // The islands that these changes touch; unset: they join or part islands, and
  // all must be built anew.
  std::optional<std::set<Id>> Update(const ObjectStore& objects,
                                     const ObjectStore::Changes& changes);

  const std::map<Id, Island>& islands() const { return islands_; }
  bool Has(const ObjectKey& object) const {
    return by_object_.contains(object);
  }
  // That of an edge; nullptr: there is no such edge.
  const Island* OfEdge(const std::string& edge) const;
  // What it leads to: Services, and addresses that it names itself.
  const std::set<ObjectStore::Name>& TargetsOf(
      const ObjectStore::Name& port_binding) const {
    return targets_.Of(port_binding);
  }
  const std::set<IpAddress>& AddressesOf(
      const ObjectStore::Name& port_binding) const {
    return addresses_.Of(port_binding);
  }

 private:
  using Name = ObjectStore::Name;

  bool Touch(const ObjectStore& objects, const Name& port_binding,
             std::set<Id>& touched);
  bool TouchService(const ObjectStore& objects, const Name& service,
                    std::set<Id>& touched);
  // The Services and PortBindings that rest on who has an address, or on what a
  // namespace consents to.
  std::set<Name> ServicesOn(const ObjectStore& objects,
                            const ObjectStore::Changes& changes) const;
  std::set<Name> PortBindingsOn(const ObjectStore& objects,
                                const ObjectStore::Changes& changes) const;
  // Puts it on the one island of `neighbours`, or one of its own. False where
  // they are several.
  bool Settle(const ObjectKey& object, const std::set<Id>& neighbours,
              std::set<Id>& touched);
  void Leave(const ObjectKey& object, std::set<Id>& touched);
  std::set<Id> IslandsOf(const std::vector<std::string>& edges) const;
  void AddIslandOf(const ObjectKey& object, std::set<Id>& ids) const;
  // Of the PortBindings that lead to it.
  void AddUsers(const Name& service, std::set<Id>& ids) const;
  Id Join(const std::set<Id>& ids);
  void Add(const ObjectKey& object, Id id);

  std::map<Id, Island> islands_;
  Id next_ = 0;
  std::map<std::string, Id> by_edge_;
  std::map<ObjectKey, Id> by_object_;
  Uses<Name, Name> targets_;         // PortBindings, and the Services of each
  Uses<Name, IpAddress> addresses_;  // likewise
};

}  // namespace edged::agent
