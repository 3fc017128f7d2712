#include "clusteragent/core/backend_chains.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "clusteragent/core/stable_hash.h"
#include "common/slots.h"

namespace edged::agent {
namespace {

using nftables::Bytes;
using nftables::Field;

constexpr size_t kChainDigits = 12;
// Not the edges' own: clients that one of them sends here share their hash.
constexpr uint32_t kHashSeed = 0xb0bca7;

// Listeners of one definition share a chain.
struct Definition {
  std::string backend;
  Protocol protocol = Protocol::kTcp;
  bool with_port = true;
  bool client_ip_affinity = false;
  std::vector<SocketAddress> endpoints;  // sorted
  auto operator<=>(const Definition&) const = default;

  auto Name() const {
    return std::tie(backend, protocol, with_port, client_ip_affinity);
  }
};

Bytes SlotBytes(const SocketAddress& endpoint, bool with_port) {
  const Bytes address = nftables::ToBytes(endpoint.address);
  if (!with_port) return address;
  return nftables::Concat({address, nftables::PortBytes(endpoint.port)});
}

nftables::Rule Choose(const Definition& definition, Family family) {
  nftables::NatByHash nat{
      .family = family,
      .key = {family == Family::kIpv4 ? Field::kIpSaddr : Field::kIp6Saddr},
      .seed = kHashSeed,
      .with_port = definition.with_port};
  if (!definition.client_ip_affinity) nat.key.push_back(Field::kThSport);
  for (const SocketAddress& endpoint :
       DealEndpoints(definition.endpoints, definition.client_ip_affinity)) {
    nat.slots.push_back(SlotBytes(endpoint, definition.with_port));
  }
  return {
      {nftables::Match{Field::kL4proto, nftables::ToBytes(definition.protocol)},
       std::move(nat)}};
}

// What follows the definition without its endpoints, so that they may change:
// "to-3f…". Where endpoints differ for a while, as of a mapping that an edge
// has not let go yet, the others' names have them, too.
std::string ChainName(const Definition& definition, Family family,
                      bool with_endpoints) {
  std::vector<std::string> parts = {
      definition.backend, std::string(edged::ToString(definition.protocol)),
      family == Family::kIpv4 ? "4" : "6",
      definition.with_port ? "port" : "range",
      definition.client_ip_affinity ? "client" : ""};
  if (with_endpoints) {
    for (const SocketAddress& endpoint : definition.endpoints) {
      parts.push_back(endpoint.ToString());
    }
  }
  return "to-" + StableHash(parts, kChainDigits);
}

Bytes KeyAt(const UplinkTarget& target, uint16_t port) {
  return nftables::Concat({nftables::ToBytes(target.address),
                           nftables::ToBytes(target.protocol),
                           nftables::PortBytes(port)});
}

// The listeners of each definition, by one of their targets.
using Listeners = std::map<Definition, std::vector<UplinkTarget>>;

void AddListeners(const std::vector<UplinkTarget>& targets, Family family,
                  Listeners& listeners) {
  for (size_t i = 0; i < targets.size();) {
    const UplinkTarget& first = targets[i];
    if (first.address.family() != family || !IsOneOfSeveral(targets, i)) {
      ++i;
      continue;
    }
    Definition definition{.backend = first.backend,
                          .protocol = first.protocol,
                          .with_port = first.ports.is_single(),
                          .client_ip_affinity = first.client_ip_affinity};
    for (; i < targets.size() && targets[i].SharesListener(first); ++i) {
      definition.endpoints.push_back(targets[i].target);
    }
    std::ranges::sort(definition.endpoints);
    listeners[std::move(definition)].push_back(first);
  }
}

}  // namespace

bool IsOneOfSeveral(const std::vector<UplinkTarget>& targets, size_t index) {
  const UplinkTarget& target = targets[index];
  return (index > 0 && targets[index - 1].SharesListener(target)) ||
         (index + 1 < targets.size() &&
          targets[index + 1].SharesListener(target));
}

BackendChains MakeBackendChains(const std::vector<TunnelOfEdge>& tunnels,
                                const BackendMaps& maps) {
  const nftables::Set single{
      .name = maps.ports, .key = maps.key, .data = {nftables::Type::kVerdict}};
  BackendChains made{.ports = {.set = single}, .ranges = {.set = single}};
  made.ranges.set.name = maps.ranges;
  made.ranges.set.interval = true;
  const Definition* before = nullptr;
  Listeners listeners;
  for (const TunnelOfEdge& tunnel : tunnels) {
    AddListeners(tunnel.targets, maps.family, listeners);
  }
  for (const auto& [definition, of_it] : listeners) {
    const bool repeated =
        before != nullptr && before->Name() == definition.Name();
    before = &definition;
    const std::string name = ChainName(definition, maps.family, repeated);
    made.chains.push_back(
        {.name = name, .rules = {Choose(definition, maps.family)}});
    for (const UplinkTarget& listener : of_it) {
      nftables::Element element{
          .key = KeyAt(listener, listener.ports.first),
          .verdict = nftables::Verdict{nftables::VerdictKind::kGoto, name}};
      if (definition.with_port) {
        made.ports.elements.push_back(std::move(element));
      } else {
        element.key_end = KeyAt(listener, listener.ports.last);
        made.ranges.elements.push_back(std::move(element));
      }
    }
  }
  std::ranges::sort(made.chains, {}, &nftables::Chain::name);
  std::ranges::sort(made.ports.elements, {}, &nftables::Element::key);
  std::ranges::sort(made.ranges.elements, {}, &nftables::Element::key);
  return made;
}

std::vector<SocketAddress> DealEndpoints(
    const std::vector<SocketAddress>& endpoints, bool client_ip_affinity) {
  const auto count =
      static_cast<std::ptrdiff_t>(std::min(endpoints.size(), kSlots));
  const std::vector<SocketAddress> dealt(endpoints.begin(),
                                         endpoints.begin() + count);
  if (!client_ip_affinity) return dealt;
  std::vector<std::string> names;
  for (const SocketAddress& endpoint : dealt) {
    names.push_back(endpoint.ToString());
  }
  std::vector<SocketAddress> slots;
  const std::vector<bool> serving(names.size(), true);
  for (const uint16_t member : DealSlots(names, serving)) {
    slots.push_back(dealt[member]);
  }
  return slots;
}

}  // namespace edged::agent
