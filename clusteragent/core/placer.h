#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/core/planner.h"
#include "clusteragent/core/port_claims.h"

namespace edged::agent {

// Puts bindings on the listeners of the edges, one after the other: what comes
// first holds its ports. Borrows what it is given.
class Placer {
 public:
  Placer(const World& world, const Records& records, const Facts& facts);

  // What becomes of every binding of `object`. Objects come by age.
  PlannedObject Place(const PortBinding& object);

  // The mappings that were granted on an edge so far, in the order of the
  // granting; their groups are unset.
  std::vector<PlannedMapping> Granted(const std::string& edge) const;

 private:
  // A binding on its way, with everything a message says about it.
  struct Candidate {
    const PortBinding& object;
    const ValidBinding& valid;
    BindingRef ref;
    std::string Where() const;  // "PortBinding a/b: spec.bindings[0] \"web\""
  };

  void PlaceBinding(const Candidate& candidate, PlannedBinding& planned);
  std::optional<Refusal> JudgeTarget(const Candidate& candidate) const;
  std::vector<const EdgeNode*> SelectEdges(
      const Candidate& candidate, std::optional<Refusal>& refused) const;
  std::vector<IpAddress> ChooseAddresses(const Candidate& candidate,
                                         const EdgeNode& node,
                                         std::optional<Refusal>& refused) const;
  std::optional<Refusal> JudgePlacement(const Candidate& candidate,
                                        const Placement& placement) const;
  std::optional<Refusal> JudgeReserved(const Candidate& candidate,
                                       const Placement& placement,
                                       uint16_t tunnel_port) const;
  // Takes the listener, or says who has it.
  std::optional<Refusal> Claim(const Candidate& candidate,
                               const Placement& placement);

  struct EdgeClaims {
    std::map<std::pair<IpAddress, Protocol>, PortClaims> ports;
    std::vector<PlannedMapping> granted;  // a claim's owner is an index here
  };

  std::map<std::string, const EdgeNode*> nodes_;  // by name
  const Records& records_;
  const Facts& facts_;
  std::map<std::string, EdgeClaims> claims_;  // by edge
};

}  // namespace edged::agent
