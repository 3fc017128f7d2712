#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "clusteragent/core/exposure.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/verdict.h"

namespace edged::agent {

// Gives exposed Services public addresses, the oldest first: what one holds it
// keeps for as long as it can, also before older ones; else it gets the address
// of its family that the fewest Services use and where its ports are free.
// Several share an address when their ports allow it. Pure; borrows the nodes.
class AddressPool {
 public:
  struct Choice {
    std::vector<std::string> edges;
    std::vector<IpAddress> addresses;
  };
  // Whether somebody has a port of an address of an edge: older objects, or the
  // edge itself.
  using Taken =
      std::function<bool(const std::string& edge, const IpAddress& address,
                         const ServicePort& port)>;

  // Who of the older objects listens on an address; empty: nobody.
  using Occupant = std::function<std::string(const std::string& edge,
                                             const IpAddress& address)>;

  // Nodes that are being deleted give none.
  AddressPool(const std::vector<EdgeNode>& nodes,
              const std::vector<Exposure>& exposures);

  // For one of the exposures, in their order. Addresses that it names are given
  // as they are: who else wants their ports is settled by age.
  std::variant<Choice, Refusal> Choose(const Exposure& exposure,
                                       const Taken& taken,
                                       const Occupant& occupant);

 private:
  struct Place {
    std::string edge;
    IpAddress address;
    auto operator<=>(const Place&) const = default;
  };
  using Name = std::pair<std::string, std::string>;  // namespace, name
  using Ports = std::map<std::pair<Protocol, uint16_t>, Name>;

  struct Use {
    std::map<Name, bool> services;  // → dedicated
    Ports ports;
  };

  static Name NameOf(const Exposure& exposure);
  void Note(const Place& place, const Exposure& exposure);
  bool IsOthers(const Place& place, const Exposure& exposure) const;
  bool IsFree(const Place& place, const Exposure& exposure, const Taken& taken,
              const Occupant& occupant) const;
  std::vector<const EdgeNode*> EdgesFor(const Exposure& exposure) const;
  std::variant<Choice, Refusal> ChooseNamed(
      const Exposure& exposure, const std::vector<const EdgeNode*>& edges,
      const Occupant& occupant) const;
  // What a dedicated one hears more.
  static std::string WhyNotAlone(const Exposure& exposure,
                                 const std::vector<const EdgeNode*>& edges,
                                 const Occupant& occupant);
  // The best place for one family; nullptr when there is none.
  const Place* Best(const Exposure& exposure, const std::vector<Place>& places,
                    Family family, const Taken& taken,
                    const Occupant& occupant) const;

  std::map<std::string, const EdgeNode*> nodes_;  // by name
  std::map<Place, Use> uses_;
};

}  // namespace edged::agent
