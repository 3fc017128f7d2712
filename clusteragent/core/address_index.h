#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/core/cluster.h"
#include "clusteragent/core/uses.h"
#include "common/net_types.h"

// Whose the addresses in a cluster are. Pure.

namespace edged::agent {

// "default/kubernetes": its endpoints are the API servers.
bool IsApiServer(const Service& service);

// Whether an endpoint is a Pod of the Service's namespace, or an API server of
// that Service. Who may write EndpointSlices can claim the former of any
// address; so it is believed only where Kubernetes' own controller has the
// slice, which corrects what others write there.
bool IsOwnEndpoint(const Service& service, const EndpointSlice& slice,
                   const SliceEndpoint& endpoint);

// A Service holds its cluster IPs, which the API server gives out once, and the
// addresses of its own Pods, with all their ports. That of the API server holds
// the ports of its endpoints alone: their addresses are of nodes, and what else
// is there is not its.
std::map<IpAddress, AddressHolder> AddressesOf(
    const Service& service, const std::vector<EndpointSlice>& slices);

// Endpoints that the Service does not hold: somebody wrote them by hand.
std::set<IpAddress> StrangersOf(const Service& service,
                                const std::vector<EndpointSlice>& slices);

// The same of all Services, kept in step one by one.
class AddressIndex {
 public:
  using Name = std::pair<std::string, std::string>;  // namespace, name

  // A Service as it is now; nullptr: there is none. The addresses whose holders
  // are others now.
  std::set<IpAddress> Note(const Name& name, const Service* service,
                           const std::vector<EndpointSlice>& slices);

  // Sorted.
  const std::vector<AddressHolder>& HoldersOf(const IpAddress& address) const;
  bool Holds(const std::string& name_space, const IpAddress& address) const;
  // Services, and the endpoints of each that it does not hold.
  const Uses<Name, IpAddress>& strangers() const { return strangers_; }

 private:
  // `holder` nullptr: none. Whether that is a change.
  bool Hold(const Name& name, const IpAddress& address,
            const AddressHolder* holder);

  AddressHolders holders_;
  std::map<Name, std::set<IpAddress>> held_;
  Uses<Name, IpAddress> strangers_;
};

}  // namespace edged::agent
