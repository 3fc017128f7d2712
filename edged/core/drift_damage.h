#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/drift/damage_report.h"
#include "common/netlink/route_events.h"
#include "common/nftables/events.h"
#include "common/protocol/records.h"
#include "edged/core/host_facts.h"
#include "edged/core/route_plan.h"

// What others changed since the last repair, gathered from the kernel's events.
// Pure.

namespace edged::edge {

// In table `inet edged`.
class TableDamage {
 public:
  // Of other tables: ignored. Our own changes are not given.
  void Add(const nftables::Event& event);
  // The kernel did not tell what.
  void AddUnknown();

  bool empty() const { return report_.changes() == 0; }
  // It takes a look at the whole table; otherwise these parts say all.
  bool whole() const { return whole_; }
  const std::set<std::string>& chains() const { return chains_; }
  const std::map<std::string, std::vector<nftables::Element>>& elements()
      const {
    return elements_;
  }
  const DamageReport& report() const { return report_; }

 private:
  bool whole_ = false;
  std::set<std::string> chains_;  // whose rules changed
  std::map<std::string, std::vector<nftables::Element>> elements_;  // by set
  DamageReport report_;
};

// In links, addresses, routes, rules and per-device settings.
class NetworkDamage {
 public:
  void Add(const netlink::RouteEvent& event);
  void AddUnknown();

  bool empty() const { return report_.changes() == 0; }
  const DamageReport& report() const { return report_; }

 private:
  DamageReport report_;
};

// False for what happens beside us: other people's links, addresses, routes.
// `observed` is what was there at the last look, and what was written since: a
// change through rtnetlink of a link's settings is told as one of the link.
bool ConcernsEdge(const netlink::RouteEvent& event,
                  const protocol::Settings& settings, const HostFacts& facts,
                  const ObservedRoutes& observed);

}  // namespace edged::edge
