#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clusteragent/core/islands.h"
#include "clusteragent/core/object_store.h"
#include "clusteragent/core/planner.h"

namespace edged::agent {

// Keeps the plan of a world that changes: after a change it plans the islands
// that it touches (islands.h), and what comes of it is MakePlan() of the whole.
class IslandPlanner {
 public:
  // What another plan has that the one before had not, or the other way round.
  struct Difference {
    std::set<std::string> edges;  // EdgeNode names
    std::set<ObjectKey> objects;  // of every kind
    bool empty() const { return edges.empty() && objects.empty(); }
  };

  // `objects` with its changes since the last call.
  Difference Replan(const ObjectStore& objects, const Allocation& allocation,
                    const Facts& facts);

  const Plan& plan() const { return plan_; }
  const Facts& facts() const { return facts_; }  // that it rests on
  // The objects that an edge has a say on; the EdgeNode is one.
  std::set<ObjectKey> ObjectsOf(const std::string& edge) const;

 private:
  World WorldOf(const ObjectStore& objects,
                const Islands::Island& island) const;
  static Cluster ClusterOf(const ObjectStore& objects,
                           const std::set<ObjectStore::Name>& services,
                           std::set<IpAddress> addresses);
  void PlanIsland(const ObjectStore& objects, const Islands::Island& island,
                  Difference& difference);
  Difference PlanEverything(const ObjectStore& objects);

  Islands islands_;
  Plan plan_;
  std::optional<Allocation> allocation_;  // of the last plan
  Facts facts_;                           // likewise
};

}  // namespace edged::agent
