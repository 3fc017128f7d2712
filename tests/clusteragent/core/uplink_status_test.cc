#include "clusteragent/core/uplink_status.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

std::string Text(const UplinkStatus& status) {
  return fmt::format("{} {} {}/{} {}", ToString(status.ready.status),
                     status.ready.reason, status.carrying, status.joined,
                     status.ready.message);
}

TEST_CASE("uplink_status: Ready is traffic of every edge that has joined",
          "[uplink_status]") {
  Plan plan;
  plan.edges = {{.edge = "a", .uid = "u1", .own_block = 1},
                {.edge = "b", .own_block = 2}};
  EdgeReports reports;
  OwnUplink own{.applied = true};
  const auto text = [&] { return Text(MakeUplinkStatus(plan, reports, own)); };
  CHECK(text() == "False NoEdge 0/0 no edge has joined yet");
  reports["a"] = {.enrolled = true, .tunnel_up = true};
  CHECK(text() == "True Carrying 1/1 ");
  reports["b"] = {.enrolled = true, .trouble = "no route"};
  CHECK(text() ==
        "False TunnelDown 1/2 EdgeNode b: the tunnel is down; last trouble: no "
        "route");
  const UplinkStatus status = MakeUplinkStatus(plan, reports, own);
  CHECK(status.edges.at("a").block == 1);
  CHECK(status.edges.at("a").trouble == "");
  CHECK(status.edges.at("b").trouble.starts_with("EdgeNode b: the tunnel"));
  reports["b"].tunnel_up = true;
  plan.edges[1].own_block = 0;
  CHECK(text() ==
        "False NoBlock 1/2 EdgeNode b: no block of its network for this uplink "
        "yet");
  plan.edges[1].own_block = 2;
  CHECK(text() == "True Carrying 2/2 ");
  own.applied = false;
  CHECK(text() == "False NotApplied 2/2 its host is not as planned yet");
  own.trouble = "uplink: table: busy";
  CHECK(text() == "False NotApplied 2/2 uplink: table: busy");
  own.starting = true;
  CHECK(text().starts_with("Unknown NotApplied"));
  own.draining = true;
  CHECK(text() == "False Draining 2/2 it takes no new connections");
}

}  // namespace
}  // namespace edged::agent
