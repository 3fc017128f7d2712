#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "clusteragent/core/planner.h"
#include "clusteragent/core/port_claims.h"
#include "clusteragent/core/service_target.h"

namespace edged::agent {

// What one edge is asked for at most, so that whoever wants more stands back
// alone, the youngest first: an edge would refuse the whole change. Groups are
// fewer than an edge takes (common/protocol/edge_limits.h): the old and the new
// ones of a change stand side by side, and thousands make it slow.
inline constexpr size_t kMostGroupsOfEdge = 16'384;
// Of them with access: each has sets in the edge's kernel, which walks all sets
// of a table to find one (6.18). So many take it half a second at once, four
// times as many eight.
inline constexpr size_t kMostAccessOfEdge = 1'024;
// Of all groups' access together.
inline constexpr size_t kMostPrefixesOfEdge = 65'536;

// Puts bindings on the listeners of the edges, one after the other: what comes
// first holds its ports. Borrows what it is given.
class Placer {
 public:
  Placer(const World& world, const Records& records, const Facts& facts);

  // What becomes of every binding of `object`. Objects come by age.
  PlannedObject Place(const PortBinding& object);

  // Whether an older object, or the edge itself, has the port.
  bool IsTaken(const std::string& edge,
               const protocol::Listener& listener) const;

  // Who has a listener on an address so far: "PortBinding a/b"; empty: nobody.
  std::string HolderOf(const std::string& edge, const IpAddress& address) const;
  // From now on nobody else is put on it.
  void Dedicate(const std::string& edge, const IpAddress& address,
                const ObjectKey& owner);

  // The mappings that were granted on an edge, sorted by listener; their groups
  // are unset. Once for each edge, at the end.
  std::vector<PlannedMapping> TakeGranted(const std::string& edge);

 private:
  // A binding on its way, with everything a message says about it.
  struct Candidate {
    const PortBinding& object;
    const ValidBinding& valid;
    BindingRef ref;
    std::optional<ServiceTarget> service;  // with its namespace
    Backends backends;                     // of the families that can be served
    std::map<Family, Refusal> without;     // why another one cannot
    std::map<Family, std::vector<std::string>> holders;  // of Preserve
    std::string Where() const;   // "PortBinding a/b: spec.bindings[0] \"web\""
    std::string Target() const;  // "target 10.0.0.5", "Service shop/web:http"
  };

  struct EdgeClaims;

  void PlaceBinding(Candidate candidate, PlannedBinding& planned);
  // Fills `backends` and `without`.
  std::optional<Refusal> FindTarget(Candidate& candidate) const;
  std::optional<Refusal> FindService(Candidate& candidate) const;
  static TargetUser UserOf(const Candidate& candidate);
  // Leaves of the backend what clientIP allows.
  std::optional<Refusal> JudgeBackend(Candidate& candidate, Family family,
                                      Backend& backend) const;
  // The uplinks whose hosts have one of the endpoints; of none: all uplinks.
  std::vector<std::string> HoldersOf(const Backend& backend) const;
  std::optional<Refusal> JudgeNetworks(const Candidate& candidate,
                                       const Backend& backend) const;
  std::optional<Refusal> JudgeIpv6(const Candidate& candidate,
                                   const Backend& backend) const;
  bool IsLocal(const SocketAddress& endpoint) const;
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
  static std::string BackendName(const Candidate& candidate);
  static PlannedMapping MappingOf(const Candidate& candidate,
                                  const Placement& placement);
  // Counts what the mapping takes of the edge, or says what there is no more
  // of.
  static std::optional<Refusal> TakeRoom(const Candidate& candidate,
                                         const Placement& placement,
                                         const PlannedMapping& planned,
                                         EdgeClaims& edge);
  // Takes the listener, or says who has it.
  std::optional<Refusal> Claim(const Candidate& candidate,
                               const Placement& placement);

  // What mappings of one group share: public address, timeouts, access, and
  // the target that is to see its clients.
  using GroupDefinition =
      std::tuple<IpAddress, protocol::Timeouts, protocol::Access, std::string>;
  struct EdgeClaims {
    std::map<std::pair<IpAddress, Protocol>, PortClaims> ports;
    std::map<IpAddress, ObjectKey> dedicated;  // to whom
    std::set<GroupDefinition, std::less<>> groups;
    std::set<std::pair<Protocol, std::chrono::seconds>> timeouts;
    size_t with_access = 0;               // groups
    size_t prefixes = 0;                  // of the access of all groups
    std::vector<PlannedMapping> granted;  // a claim's owner is an index here
  };

  std::map<std::string, const EdgeNode*> nodes_;  // by name
  const Records& records_;
  const Facts& facts_;
  std::optional<ServiceTargets> services_;
  std::map<std::string, EdgeClaims> claims_;  // by edge
};

}  // namespace edged::agent
