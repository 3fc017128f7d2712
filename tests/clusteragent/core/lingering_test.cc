#include "clusteragent/core/lingering.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace edged::agent {
namespace {

// Mappings of 203.0.113.1, tcp, as "80 90-99".
EdgePlan PlanWith(const std::vector<PortRange>& ports) {
  EdgePlan plan;
  for (const PortRange& range : ports) {
    PlannedMapping planned;
    planned.mapping.listener = {
        .public_address = IpAddress::FromIpv4(0xcb007101),
        .protocol = Protocol::kTcp,
        .ports = range};
    plan.wanted.mappings.push_back(planned.mapping);
    plan.mappings.push_back(planned);
  }
  return plan;
}

std::string PortsOf(const EdgePlan& plan) {
  std::string text;
  for (const PlannedMapping& planned : plan.mappings) {
    const PortRange& ports = planned.mapping.listener.ports;
    text += fmt::format(" {}", ports.first);
    if (!ports.is_single()) text += fmt::format("-{}", ports.last);
  }
  return text;
}

std::string Carried(const EdgePlan& wanted, const EdgePlan& before,
                    const EdgePlan& answered) {
  return PortsOf(WithLingering(wanted, before, answered.wanted));
}

TEST_CASE("lingering: what the edge still has is carried until it lets go",
          "[lingering]") {
  const EdgePlan before = PlanWith({{80, 80}, {90, 99}, {443, 443}});
  const EdgePlan wanted = PlanWith({{80, 80}});
  CHECK(Carried(wanted, before, before) == " 80 90-99 443");
  CHECK(Carried(wanted, before, PlanWith({{80, 80}, {443, 443}})) == " 80 443");
  CHECK(Carried(wanted, before, wanted) == " 80");
  // What the edge has and nobody carried is not made up.
  CHECK(Carried(wanted, PlanWith({{80, 80}}), before) == " 80");
}

TEST_CASE("lingering: nothing lingers where something else is wanted",
          "[lingering]") {
  const EdgePlan before = PlanWith({{90, 99}, {443, 443}});
  CHECK(Carried(PlanWith({{95, 95}}), before, before) == " 95 443");
  CHECK(Carried(PlanWith({{80, 90}}), before, before) == " 80-90 443");
  CHECK(Carried(PlanWith({{99, 120}}), before, before) == " 99-120 443");
  CHECK(Carried(PlanWith({{100, 120}}), before, before) ==
        " 90-99 100-120 443");
}

}  // namespace
}  // namespace edged::agent
