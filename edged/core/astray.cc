#include "edged/core/astray.h"

#include <fmt/format.h>

namespace edged::edge {
namespace {

std::string PacketsFor(const Astray::key_type& whose) {
  const auto& [uplink, family] = whose;
  return fmt::format("{}packets for uplink {}",
                     family == Family::kIpv4 ? "" : "IPv6 ", uplink);
}

std::string Warning(const Astray::value_type& astray) {
  return fmt::format(
      "{} do not go into the tunnel: {}; `edged doctor` says more",
      PacketsFor(astray.first), astray.second);
}

}  // namespace

std::vector<std::string> WarningsOfAstray(const Astray& astray) {
  std::vector<std::string> warnings;
  for (const auto& each : astray) warnings.push_back(Warning(each));
  return warnings;
}

AstrayNews NewsOfAstray(const Astray& before, const Astray& after,
                        const EdgeModel& model, const HostFacts& facts) {
  AstrayNews news;
  for (const auto& each : after) {
    const auto known = before.find(each.first);
    if (known == before.end() || known->second != each.second) {
      news.begun.push_back(Warning(each));
    }
  }
  for (const auto& [whose, by] : before) {
    const auto& [uplink, family] = whose;
    if (after.contains(whose) || !model.uplinks().contains(uplink) ||
        !facts.OverlayOf(family)) {
      continue;
    }
    news.over.push_back(PacketsFor(whose) + " go into the tunnel again");
  }
  return news;
}

}  // namespace edged::edge
