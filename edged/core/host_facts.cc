#include "edged/core/host_facts.h"

#include <algorithm>

namespace edged::edge {

std::string_view ToString(Health health) {
  switch (health) {
    case Health::kDead:
      return "dead";
    case Health::kSuspect:
      return "suspect";
    case Health::kDraining:
      return "draining";
    case Health::kAlive:
      return "alive";
  }
  return "unknown";
}

Health HealthOf(const UplinkHealth& health, const std::string& uplink) {
  const auto found = health.find(uplink);
  return found == health.end() ? Health::kDead : found->second;
}

const protocol::Overlay* HostFacts::OverlayOf(Family family) const {
  if (family == Family::kIpv4) return &limits.overlay;
  return ipv6.overlay ? &*ipv6.overlay : nullptr;
}

std::vector<Family> HostFacts::families() const {
  if (!ipv6.overlay) return {Family::kIpv4};
  return {Family::kIpv4, Family::kIpv6};
}

uint32_t HostFacts::MtuOf(const std::string& uplink) const {
  const auto told = uplink_mtus.find(uplink);
  return told == uplink_mtus.end() ? own_mtu : std::min(own_mtu, told->second);
}

std::vector<bool> ServingOf(const protocol::Group& group,
                            const UplinkHealth& health) {
  std::vector<bool> serving(group.uplinks.size());
  for (const Health wanted : {Health::kAlive, Health::kSuspect}) {
    for (size_t i = 0; i < serving.size(); ++i) {
      serving[i] = HealthOf(health, group.uplinks[i]) == wanted;
    }
    if (std::ranges::find(serving, true) != serving.end()) break;
  }
  return serving;
}

}  // namespace edged::edge
