#include "clusteragent/core/address_index.h"

#include <algorithm>
#include <utility>

namespace edged::agent {
namespace {

using Name = AddressIndex::Name;

constexpr char kManagedByLabel[] = "endpointslice.kubernetes.io/managed-by";
constexpr char kSliceController[] = "endpointslice-controller.k8s.io";

// The ports that it publishes at one of its endpoints, or its cluster IP.
template <typename Ports>
void AddPorts(const Ports& ports, AddressHolder& holder) {
  for (const auto& port : ports) {
    holder.ports.emplace_back(port.protocol, port.port);
  }
  std::ranges::sort(holder.ports);
  holder.ports.erase(std::unique(holder.ports.begin(), holder.ports.end()),
                     holder.ports.end());
}

}  // namespace

bool IsApiServer(const Service& service) {
  return service.meta.name_space == "default" &&
         service.meta.name == "kubernetes";
}

bool IsOwnEndpoint(const Service& service, const EndpointSlice& slice,
                   const SliceEndpoint& endpoint) {
  if (IsApiServer(service)) return true;
  if (!service.has_selector || !endpoint.of_pod) return false;
  const auto label = slice.meta.labels.find(kManagedByLabel);
  return label != slice.meta.labels.end() && label->second == kSliceController;
}

std::map<IpAddress, AddressHolder> AddressesOf(
    const Service& service, const std::vector<EndpointSlice>& slices) {
  std::map<IpAddress, AddressHolder> addresses;
  const AddressHolder none{.name_space = service.meta.name_space,
                           .service = service.meta.name};
  for (const IpAddress& address : service.cluster_ips) {
    AddPorts(service.ports, addresses.try_emplace(address, none).first->second);
  }
  const bool is_api_server = IsApiServer(service);
  for (const EndpointSlice& slice : slices) {
    for (const SliceEndpoint& endpoint : slice.endpoints) {
      if (!IsOwnEndpoint(service, slice, endpoint)) continue;
      AddressHolder& holder =
          addresses.try_emplace(endpoint.address, none).first->second;
      AddPorts(slice.ports, holder);
      if (is_api_server) holder.whole = false;
    }
  }
  return addresses;
}

std::set<IpAddress> StrangersOf(const Service& service,
                                const std::vector<EndpointSlice>& slices) {
  std::set<IpAddress> strangers;
  for (const EndpointSlice& slice : slices) {
    for (const SliceEndpoint& endpoint : slice.endpoints) {
      if (IsOwnEndpoint(service, slice, endpoint)) continue;
      strangers.insert(endpoint.address);
    }
  }
  return strangers;
}

bool AddressIndex::Hold(const Name& name, const IpAddress& address,
                        const AddressHolder* holder) {
  std::vector<AddressHolder>& holders = holders_[address];
  const auto is_it = [&name](const AddressHolder& known) {
    return known.name_space == name.first && known.service == name.second;
  };
  const auto known = std::ranges::find_if(holders, is_it);
  const bool was_there = known != holders.end();
  bool changed = false;
  if (holder == nullptr) {
    if (was_there) holders.erase(known);
    changed = was_there;
  } else if (!was_there) {
    holders.insert(std::ranges::upper_bound(holders, *holder), *holder);
    changed = true;
  } else if (*known != *holder) {
    *known = *holder;
    changed = true;
  }
  if (holders.empty()) holders_.erase(address);
  return changed;
}

std::set<IpAddress> AddressIndex::Note(
    const Name& name, const Service* service,
    const std::vector<EndpointSlice>& slices) {
  std::map<IpAddress, AddressHolder> now;
  if (service != nullptr) now = AddressesOf(*service, slices);
  std::set<IpAddress> changed;
  std::set<IpAddress>& held = held_[name];
  for (const IpAddress& address : std::exchange(held, {})) {
    if (!now.contains(address)) {
      Hold(name, address, nullptr);
      changed.insert(address);
    }
  }
  for (const auto& [address, holder] : now) {
    if (Hold(name, address, &holder)) changed.insert(address);
    held.insert(held.end(), address);
  }
  if (held.empty()) held_.erase(name);
  strangers_.Set(name, service == nullptr ? std::set<IpAddress>()
                                          : StrangersOf(*service, slices));
  return changed;
}

const std::vector<AddressHolder>& AddressIndex::HoldersOf(
    const IpAddress& address) const {
  static const std::vector<AddressHolder> kNone;
  const auto found = holders_.find(address);
  return found == holders_.end() ? kNone : found->second;
}

bool AddressIndex::Holds(const std::string& name_space,
                         const IpAddress& address) const {
  return std::ranges::any_of(HoldersOf(address),
                             [&name_space](const AddressHolder& holder) {
                               return holder.name_space == name_space;
                             });
}

}  // namespace edged::agent
