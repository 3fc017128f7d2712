#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/protocol/overlay.h"
#include "edged/core/doctor_checks.h"
#include "edged/core/tunnel_way.h"

// Checks of the routes and rules that others have on this host.

namespace edged::edge {
namespace {

// Who is led elsewhere by one thing.
struct Led {
  OtherWay way;
  std::set<std::string> uplinks;
  std::set<std::string> sources;  // empty: whoever it is
};

const std::optional<IpPrefix>& NetworkOf(Family family,
                                         const DoctorFacts& facts) {
  return family == Family::kIpv4 ? facts.enrolment.network
                                 : facts.enrolment.network6;
}

std::string SourceText(const AskedWay& way, const HostRouting& host) {
  if (!way.source) return "";
  const auto rule = std::ranges::find_if(host.rules, [&way](const auto& each) {
    return each.source && IsForeign(each) && each.source->Contains(*way.source);
  });
  return rule == host.rules.end() ? "" : rule->source->ToString();
}

}  // namespace

std::string UplinkName(const IpAddress& mapping, const DoctorFacts& facts) {
  const auto& own = facts.enrolment.network;
  const auto& network = NetworkOf(mapping.family(), facts);
  if (!own || !network || !facts.uplinks) return mapping.ToString();
  const auto overlay = protocol::Overlay::Create(*network);
  // Uplinks are told by their IPv4 addresses.
  const auto overlay4 = protocol::Overlay::Create(*own);
  if (!overlay.ok() || !overlay4.ok()) return mapping.ToString();
  for (uint32_t block = 1; block < protocol::kBlocks; ++block) {
    if (!overlay->BlockPrefix(block).Contains(mapping)) continue;
    for (const UplinkFacts& uplink : *facts.uplinks) {
      if (uplink.address == overlay4->UplinkAddress(block)) return uplink.name;
    }
  }
  return mapping.ToString();
}

void CheckRoutes(const DoctorFacts& facts, Findings found) {
  if (!facts.routing || facts.enrolled != Answer::kYes) return;
  std::map<std::string, Led> led;
  std::set<std::string> everybody;  // names of what takes ordinary clients
  for (const AskedWay& way : facts.ways) {
    auto other = FindOtherWay(way, *facts.routing, facts.device,
                              NetworkOf(way.destination.family(), facts));
    if (!other) continue;
    Led& one = led[other->what];
    one.uplinks.insert(UplinkName(way.destination, facts));
    const std::string source = SourceText(way, *facts.routing);
    if (source.empty()) everybody.insert(other->what);
    one.sources.insert(source);
    one.way = *std::move(other);
  }
  for (const auto& [what, one] : led) {
    const bool all = everybody.contains(what);
    found.Add(
        all ? Severity::kError : Severity::kWarning,
        fmt::format(
            "packets for uplink {}{} do not go into the tunnel: {}",
            fmt::join(one.uplinks, ", "),
            all ? "" : fmt::format(" from {}", fmt::join(one.sources, ", ")),
            what),
        "Clients get no connection there. edged repairs its own routes only; "
        "what others have made stays until somebody takes it away.",
        one.way.mend);
  }
  found.Ok(facts.ways.empty() ? "nothing is mapped yet"
                              : "what is for uplinks goes into the tunnel");
}

}  // namespace edged::edge
