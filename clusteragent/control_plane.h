#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/enrolment.h"
#include "clusteragent/core/facts.h"
#include "clusteragent/core/happening.h"
#include "clusteragent/core/object_store.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/core/uplink_status.h"
#include "clusteragent/edge/edge_client.h"
#include "clusteragent/source/source.h"

namespace edged::agent {

// What came of the wishes.
struct Telling {
  const Plan& plan;
  const ObjectStatuses& statuses;
  // Whose plan or status, or what is kept with it, is another than when it was
  // told last; unset: all may be.
  std::optional<std::set<ObjectKey>> changed;
  std::map<std::string, PublicKey> own_keys;           // by EdgeNode name
  const std::map<std::string, EdgeEnrolment>& joined;  // likewise; known here
  UplinkStatus own;                                    // of this replica
  // The edges have answered in this term, or had their time: before, what the
  // leader of the last term has said is nearer to the truth.
  bool settled = true;
};

// What an agent gets its wishes, its memory and its term from, and whom it
// tells what came of them: a folder of manifests with a state folder, or
// Kubernetes. Belongs to the loop thread.
class ControlPlane {
 public:
  virtual ~ControlPlane() = default;

  // `changed` is called whenever anything of what follows is another; `heard`
  // when nothing is, and something was told of an object that has a status.
  virtual absl::Status Start(std::function<void()> changed,
                             std::function<void()> heard) = 0;
  // All of it is known; nothing is planned before.
  virtual bool ready() const = 0;
  virtual const ClusterIdentity& identity() const = 0;  // once ready
  // Likewise. Who plans it forgets its changes. They are of everything where
  // tokens, enrolments or what is given out may be others.
  virtual ObjectStore& objects() = 0;
  virtual const Mistakes& mistakes() const = 0;
  // Whether what is missing from it may only be about to be replaced.
  virtual bool may_flicker() const = 0;
  // Set while this replica leads: only then it speaks to edges.
  virtual std::optional<Epoch> epoch() const = 0;
  // An edge has seen this term: ours must be a later one.
  virtual void Exceed(const std::string& edge, uint64_t seen) = 0;
  virtual Labels own_labels() const = 0;  // of this uplink
  virtual std::vector<UplinkFacts> other_uplinks() const = 0;

  // What is given out for objects(), written down if this replica leads; else
  // what the leader has written.
  virtual absl::StatusOr<Allocation> AllocateFor(const Facts& facts) = 0;
  virtual absl::StatusOr<std::optional<IssuedToken>> Token(
      const std::string& edge) const = 0;
  // What other replicas know of an edge; nothing where there are none.
  virtual std::optional<EdgeEnrolment> Shared(
      const std::string& edge) const = 0;
  // Makes other replicas know it. `done` when it is durable; not called where
  // that fails.
  virtual void Share(const std::string& edge, const EdgeEnrolment& enrolment,
                     std::function<void()> done) = 0;

  virtual void Tell(const Telling& telling) = 0;
  // Something happened to an edge. Who does not lead says nothing.
  virtual void Announce(const std::string& edge, const Happening& news) = 0;
  // Something happened on this replica's own host, and stands in the log.
  virtual void AnnounceOwn(const Happening& news) = 0;
  // Whether this uplink's network goes with its process, so that its clients
  // must be led elsewhere before.
  virtual bool drains() const = 0;
  // For the end: hands over; `done` may be called at once.
  virtual void Stop(std::function<void()> done) = 0;
};

}  // namespace edged::agent
