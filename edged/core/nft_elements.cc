#include "edged/core/nft_elements.h"

#include <algorithm>

#include "edged/core/nft_names.h"

namespace edged::edge {

using nftables::Element;
using nftables::Set;

bool IsCarried(const protocol::Group& group, const HostFacts& facts) {
  return facts.OverlayOf(group.public_address.family()) != nullptr;
}

Element PortElement(Protocol protocol, uint16_t port) {
  return {.key = nftables::Concat(
              {nftables::ToBytes(protocol), nftables::PortBytes(port)})};
}

std::vector<Element> ReservedElements(const Limits& limits) {
  std::vector<Element> elements{
      PortElement(Protocol::kUdp, limits.listen_port)};
  for (const ReservedPort& reserved : limits.reserved) {
    Element element = PortElement(reserved.protocol, reserved.port);
    if (std::ranges::find(elements, element) == elements.end()) {
      elements.push_back(std::move(element));
    }
  }
  return elements;
}

std::vector<Element> NameElements(const std::set<std::string>& names) {
  std::vector<Element> elements;
  for (const auto& name : names) {
    elements.push_back({.key = nftables::NameBytes(name)});
  }
  return elements;
}

Element GroupElement(const std::string& group, const GroupMarks& marks) {
  return {.key = nftables::MarkBytes(marks.MarkOf(group)),
          .verdict = nftables::Verdict{nftables::VerdictKind::kGoto,
                                       GroupChainName(group)}};
}

std::vector<Element> CallerElements(const Uplinks& uplinks,
                                    const HostFacts& facts) {
  const protocol::Overlay& overlay = facts.limits.overlay;
  std::vector<Element> elements{
      {.key = nftables::ToBytes(overlay.ControlAddress())}};
  for (const auto& [name, uplink] : uplinks) {
    elements.push_back(
        {.key = nftables::ToBytes(overlay.UplinkAddress(uplink.block))});
  }
  return elements;
}

std::vector<Element> BackElements(Family family, const Uplinks& uplinks,
                                  const protocol::Settings& settings,
                                  const HostFacts& facts) {
  std::vector<Element> elements;
  const protocol::Overlay* overlay = facts.OverlayOf(family);
  if (!overlay) return elements;
  for (const auto& address : settings.public_addresses) {
    const auto nic = facts.nic_addresses.find(address.address);
    if (nic == facts.nic_addresses.end() ||
        address.address.family() != family) {
      continue;
    }
    for (const auto& [name, uplink] : uplinks) {
      const IpAddress mapping =
          overlay->MappingAddress(uplink.block, address.index);
      elements.push_back({.key = nftables::ToBytes(mapping),
                          .data = nftables::ToBytes(nic->second.nic)});
    }
  }
  return elements;
}

void AddTimeoutsOf(const protocol::Group& group, const HostFacts& facts,
                   TimeoutsByName& timeouts) {
  if (!facts.no_timeouts.empty() || !IsCarried(group, facts)) return;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    const auto seconds = group.timeouts.Of(protocol).count();
    if (seconds == 0) continue;
    auto timeout = nftables::IdleTimeout(protocol, seconds);
    timeouts.emplace(timeout.name, std::move(timeout));
  }
}

std::vector<Set> MappingSets() {
  return {PortsSet(Family::kIpv4), RangesSet(Family::kIpv4),
          PortsSet(Family::kIpv6), RangesSet(Family::kIpv6)};
}

size_t MappingSetIndex(const protocol::Listener& listener) {
  return (listener.public_address.is_ipv4() ? 0 : 2) +
         (listener.ports.is_single() ? 0 : 1);
}

Element ElementOf(const protocol::Listener& listener, uint32_t mark,
                  const HostFacts& facts) {
  const auto address =
      nftables::ToBytes(facts.nic_addresses.at(listener.public_address).nic);
  const auto protocol = nftables::ToBytes(listener.protocol);
  const PortRange& ports = listener.ports;
  Element element{.key = nftables::Concat(
                      {address, protocol, nftables::PortBytes(ports.first)}),
                  .data = nftables::MarkBytes(mark)};
  if (!ports.is_single()) {
    element.key_end =
        nftables::Concat({address, protocol, nftables::PortBytes(ports.last)});
  }
  return element;
}

bool IsProgrammable(const protocol::Listener& listener,
                    const HostFacts& facts) {
  return facts.OverlayOf(listener.public_address.family()) != nullptr &&
         facts.nic_addresses.contains(listener.public_address);
}

std::vector<protocol::Listener> Unprogrammable(const EdgeModel& model,
                                               const HostFacts& facts) {
  std::vector<protocol::Listener> listeners;
  const bool all_resolved = std::ranges::all_of(
      model.settings().public_addresses, [&](const auto& address) {
        return facts.nic_addresses.contains(address.address);
      });
  if (all_resolved) return listeners;
  model.ForEachMapping([&](const protocol::Listener& listener, const auto&) {
    if (!IsProgrammable(listener, facts)) listeners.push_back(listener);
  });
  return listeners;
}

MappingBatches NoMappings() {
  MappingBatches batches;
  for (Set& set : MappingSets()) batches.push_back({std::move(set), {}});
  return batches;
}

void AddMapping(const protocol::Listener& listener, uint32_t mark,
                const HostFacts& facts, MappingBatches& batches) {
  batches[MappingSetIndex(listener)].elements.push_back(
      ElementOf(listener, mark, facts));
}

}  // namespace edged::edge
