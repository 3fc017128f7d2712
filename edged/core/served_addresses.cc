#include "edged/core/served_addresses.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "common/status.h"
#include "edged/core/nft_elements.h"

namespace edged::edge {

UnservedAddresses ResolveAddresses(const protocol::Settings& settings,
                                   const ObservedRoutes& observed,
                                   HostFacts& facts) {
  const auto find_link = [&observed](const std::string& name) {
    const auto found =
        std::ranges::find(observed.links, name, &netlink::Link::name);
    return found == observed.links.end() ? nullptr : &*found;
  };
  facts.nic_addresses.clear();
  UnservedAddresses unserved;
  for (auto& [address, nic] : ResolveNicAddresses(
           settings, observed.links, observed.addresses, facts.device)) {
    std::optional<Unserved> against;
    if (!address.is_ipv4()) {
      against = AgainstIpv6(settings, facts, find_link(facts.device),
                            nic.ok() ? find_link(nic->interface) : nullptr);
    }
    if (!against && !nic.ok()) {
      against = Unserved{"AddressNotLocal", std::string(Message(nic.status()))};
    }
    if (against) {
      unserved.emplace(address, *std::move(against));
    } else {
      facts.nic_addresses.emplace(address, *nic);
    }
  }
  return unserved;
}

protocol::Digest ProgrammedDigest(const EdgeModel& model,
                                  const HostFacts& facts) {
  protocol::Digest digest = model.digest();
  for (const protocol::Listener& listener : Unprogrammable(model, facts)) {
    const protocol::Group* group = model.FindMapping(listener);
    if (group) digest.Remove(protocol::Mapping{listener, group->name});
  }
  return digest;
}

std::vector<Refusal> NotProgrammed(const EdgeModel& model,
                                   const HostFacts& facts,
                                   const UnservedAddresses& unserved) {
  std::vector<Refusal> refusals;
  for (const protocol::Listener& listener : Unprogrammable(model, facts)) {
    const auto why = unserved.find(listener.public_address);
    if (why != unserved.end()) {
      refusals.push_back({listener, why->second.reason, why->second.message});
    } else {
      refusals.push_back({listener, "AddressNotLocal",
                          fmt::format("{} is not resolved",
                                      listener.public_address.ToString())});
    }
  }
  return refusals;
}

std::vector<ResolvedAddress> ResolvedAddresses(
    const protocol::Settings& settings, const HostFacts& facts,
    const UnservedAddresses& unserved) {
  std::vector<ResolvedAddress> addresses;
  for (const auto& wanted : settings.public_addresses) {
    ResolvedAddress& added = addresses.emplace_back();
    added.address = wanted.address;
    const auto nic = facts.nic_addresses.find(wanted.address);
    if (nic != facts.nic_addresses.end()) {
      added.nic_address = nic->second.nic;
      added.interface = nic->second.interface;
    } else if (const auto why = unserved.find(wanted.address);
               why != unserved.end()) {
      added.error = why->second.message;
    }
  }
  return addresses;
}

}  // namespace edged::edge
