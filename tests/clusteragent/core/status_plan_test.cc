#include "clusteragent/core/status_plan.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

std::string Text(const Condition& condition) {
  std::string text = fmt::format("{}={} {}", condition.type,
                                 ToString(condition.status), condition.reason);
  if (!condition.message.empty()) text += ": " + condition.message;
  return text + "\n";
}

// The conditions of one object and of its bindings.
std::string Text(const std::vector<ObjectStatus>& statuses,
                 const std::string& name) {
  std::string text;
  for (const ObjectStatus& status : statuses) {
    if (status.object.name != name) continue;
    for (const Condition& condition : status.conditions) {
      text += Text(condition);
    }
    for (const BindingStatus& binding : status.bindings) {
      text += binding.name + ": " + Text(binding.ready);
    }
  }
  return text;
}

std::shared_ptr<const protocol::EdgeState> Share(protocol::EdgeState state) {
  return std::make_shared<const protocol::EdgeState>(std::move(state));
}

// Everything that `plan` wants of `edge` is there.
EdgeReport Healthy(const Plan& plan, const std::string& edge) {
  const auto state = Share(plan.Edge(edge)->wanted);
  return {
      .enrolled = true, .tunnel_up = true, .answered = state, .carried = state};
}

std::vector<ObjectStatus> Statuses(const Plan& plan,
                                   const EdgeReports& reports) {
  return Listed(MakeStatus(plan, reports));
}

World WebWorld() {
  return {{Edge("vps", {"203.0.113.1"})},
          {Object("web", "vps",
                  {Bind("http", "TCP", 80), Bind("https", "TCP", 443)})}};
}

TEST_CASE("status_plan: all is Ready when programmed and carried",
          "[status_plan]") {
  const Plan plan = PlanOf(WebWorld(), FactsFor({"vps"}));
  const auto statuses = Statuses(plan, {{"vps", Healthy(plan, "vps")}});
  CHECK(Text(statuses, "vps") ==
        "Enrolled=True Enrolled\n"
        "TunnelUp=True TunnelUp\n"
        "Programmed=True Programmed\n"
        "Ready=True Ready\n");
  CHECK(Text(statuses, "web") ==
        "Accepted=True Accepted\n"
        "Programmed=True Programmed\n"
        "Ready=True Ready\n"
        "http: Ready=True Serving\n"
        "https: Ready=True Serving\n");
  CHECK(statuses[1].bindings[0].listeners ==
        std::vector<std::string>{"vps 203.0.113.1 tcp/80"});
}

TEST_CASE("status_plan: an unknown edge is not enrolled", "[status_plan]") {
  const Plan plan = PlanOf(WebWorld(), FactsFor({"vps"}));
  const auto statuses = Statuses(plan, {});
  CHECK(Text(statuses, "vps") ==
        "Enrolled=False NotEnrolled: EdgeNode vps: not enrolled; `clusteragent "
        "token vps` gives the token for `edged join`\n"
        "TunnelUp=False NotEnrolled: EdgeNode vps: not enrolled; `clusteragent "
        "token vps` gives the token for `edged join`\n"
        "Programmed=False NotProgrammed: EdgeNode vps: has not confirmed the "
        "wanted state yet\n"
        "Ready=False NotEnrolled: EdgeNode vps: not enrolled; `clusteragent "
        "token vps` gives the token for `edged join`\n");
  CHECK(statuses[1].Find("Accepted")->status == ConditionStatus::kTrue);
  CHECK(statuses[1].Find("Ready")->reason == "NotEnrolled");
  CHECK(statuses[1].Find("Nothing") == nullptr);
}

TEST_CASE("status_plan: each step that is missing has its reason",
          "[status_plan]") {
  const Plan plan = PlanOf(WebWorld(), FactsFor({"vps"}));
  EdgeReport report = Healthy(plan, "vps");
  const auto web = [&] {
    return Text(Statuses(plan, {{"vps", report}}), "web");
  };
  report.carried = nullptr;
  CHECK(
      web() ==
      "Accepted=True Accepted\n"
      "Programmed=True Programmed\n"
      "Ready=False NotCarried: 2 of 2 bindings: 203.0.113.1 tcp/80: no uplink "
      "of EdgeNode vps carries it yet\n"
      "http: Ready=False NotCarried: 203.0.113.1 tcp/80: no uplink of "
      "EdgeNode vps carries it yet\n"
      "https: Ready=False NotCarried: 203.0.113.1 tcp/443: no uplink of "
      "EdgeNode vps carries it yet\n");
  report.answered = nullptr;
  report.trouble = "connection refused";
  CHECK(web().starts_with(
      "Accepted=True Accepted\n"
      "Programmed=False NotProgrammed: 2 of 2 bindings: 203.0.113.1 tcp/80: "
      "EdgeNode vps has not confirmed it yet; last trouble: connection "
      "refused\n"));
  report.tunnel_up = false;
  CHECK(web().find("http: Ready=False TunnelDown: EdgeNode vps: the tunnel is "
                   "down; last trouble: connection refused\n") !=
        std::string::npos);
}

TEST_CASE("status_plan: a new mapping leaves the old ones Ready",
          "[status_plan]") {
  World world = WebWorld();
  const Facts facts = FactsFor({"vps"});
  const Plan before = PlanOf(world, facts);
  world.port_bindings[0].bindings.push_back(Bind("dns", "UDP", 53));
  const Plan after = PlanOf(world, facts);
  const auto statuses = Statuses(after, {{"vps", Healthy(before, "vps")}});
  CHECK(Text(statuses, "web") ==
        "Accepted=True Accepted\n"
        "Programmed=False NotProgrammed: 1 of 3 bindings: 203.0.113.1 udp/53: "
        "EdgeNode vps has not confirmed it yet\n"
        "Ready=False NotProgrammed: 1 of 3 bindings: 203.0.113.1 udp/53: "
        "EdgeNode vps has not confirmed it yet\n"
        "http: Ready=True Serving\n"
        "https: Ready=True Serving\n"
        "dns: Ready=False NotProgrammed: 203.0.113.1 udp/53: EdgeNode vps has "
        "not confirmed it yet\n");
  CHECK(statuses[0].Find("Programmed")->reason == "NotProgrammed");
}

TEST_CASE("status_plan: what the edge refuses is named alone",
          "[status_plan]") {
  const Plan plan = PlanOf(WebWorld(), FactsFor({"vps"}));
  EdgeReport report = Healthy(plan, "vps");
  report.refused[{Ip("203.0.113.1"), Protocol::kTcp, {80, 80}}] =
      "tcp/80 is reserved";
  const auto statuses = Statuses(plan, {{"vps", report}});
  CHECK(Text(statuses, "web") ==
        "Accepted=True Accepted\n"
        "Programmed=False RefusedByEdge: 1 of 2 bindings: 203.0.113.1 tcp/80: "
        "EdgeNode vps refuses it: tcp/80 is reserved\n"
        "Ready=False RefusedByEdge: 1 of 2 bindings: 203.0.113.1 tcp/80: "
        "EdgeNode vps refuses it: tcp/80 is reserved\n"
        "http: Ready=False RefusedByEdge: 203.0.113.1 tcp/80: EdgeNode vps "
        "refuses it: tcp/80 is reserved\n"
        "https: Ready=True Serving\n");
  CHECK(statuses[0].Find("Programmed")->message ==
        "EdgeNode vps: refuses 1 of 2 mappings; 203.0.113.1 tcp/80: tcp/80 is "
        "reserved");
}

TEST_CASE("status_plan: a wrong binding makes its object not Ready, by name",
          "[status_plan]") {
  World world = WebWorld();
  world.port_bindings[0].bindings[0].listen_port = 0;
  const Plan plan = PlanOf(world, FactsFor({"vps"}));
  const auto statuses = Statuses(plan, {{"vps", Healthy(plan, "vps")}});
  const std::string why =
      "InvalidPort: 1 of 2 bindings: PortBinding default/web: "
      "spec.bindings[0].listenPort: 0 is not a port (1-65535)\n";
  CHECK(Text(statuses, "web") ==
        "Accepted=False " + why + "Programmed=False " + why + "Ready=False " +
            why +
            "http: Ready=False InvalidPort: PortBinding default/web: "
            "spec.bindings[0].listenPort: 0 is not a port (1-65535)\n"
            "https: Ready=True Serving\n");
}

TEST_CASE("status_plan: what is wrong with an edge is its condition",
          "[status_plan]") {
  World world = WebWorld();
  world.edge_nodes.push_back(Edge("wide", {"203.0.113.2"}));
  world.edge_nodes[1].tunnel.network = Prefix("10.9.0.0/22");
  Facts facts = FactsFor({"vps"});
  facts.host_routes = {Prefix("10.9.0.0/16")};
  const Plan plan = PlanOf(world, facts);
  const auto statuses = Statuses(plan, {});
  REQUIRE(statuses[1].object.name == "wide");
  CHECK(Text(*statuses[1].Find("Ready")) ==
        "Ready=False NetworkOverlap: EdgeNode wide: spec.tunnel.network: "
        "10.9.0.0/22 overlaps 10.9.0.0/16, which this host routes\n");
  CHECK(statuses[1].values.empty());
}

TEST_CASE("status_plan: defaults can be read back", "[status_plan]") {
  const Plan plan = PlanOf(WebWorld(), FactsFor({"vps"}));
  EdgeReport report = Healthy(plan, "vps");
  report.values = {{"mtu", "1420"}, {"backend", "userspace"}};
  const auto statuses = Statuses(plan, {{"vps", report}});
  CHECK(statuses[0].values == std::map<std::string, std::string>{
                                  {"address", "203.0.113.1"},
                                  {"backend", "userspace"},
                                  {"listenPort", "51820"},
                                  {"mtu", "1420"},
                                  {"network", "10.200.0.0/22"},
                                  {"network6", "fd6a:3863:fc1a:1::/64"},
                                  {"persistentKeepalive", "25"},
                                  {"publicIPs[203.0.113.1].index", "1"}});
}

TEST_CASE("status_table: one line per edge and per binding", "[status_plan]") {
  World world = WebWorld();
  world.port_bindings.push_back(Object("empty", "vps", {}));
  const Plan plan = PlanOf(world, FactsFor({"vps"}));
  EdgeReport report = Healthy(plan, "vps");
  report.refused[{Ip("203.0.113.1"), Protocol::kTcp, {80, 80}}] = "no";
  CHECK(StatusTable(Statuses(plan, {{"vps", report}})) ==
        R"(EDGENODE  NETWORK        ENROLLED  TUNNEL  PROGRAMMED  READY  WHY
vps       10.200.0.0/22  True      True    False       False  RefusedByEdge: EdgeNode vps: refuses 1 of 2 mappings; 203.0.113.1 tcp/80: no

PORTBINDING    BINDING  LISTENERS                READY  WHY
default/empty  -        -                        False  NoBindings: PortBinding default/empty: spec.bindings: is empty
default/web    http     vps 203.0.113.1 tcp/80   False  RefusedByEdge: 203.0.113.1 tcp/80: EdgeNode vps refuses it: no
default/web    https    vps 203.0.113.1 tcp/443  True   -
)");
}

TEST_CASE(
    "status_plan: a change under way is said of bindings, not of the edge",
    "[status_plan]") {
  const Facts facts = FactsFor({"vps"});
  EdgeReport report = Healthy(PlanOf(WebWorld(), facts), "vps");
  World world = WebWorld();
  world.port_bindings.push_back(
      Object("more", "vps", {Bind("http", "TCP", 81)}));
  const Plan plan = PlanOf(world, facts);
  report.settling = true;
  auto statuses = MakeStatus(plan, {{"vps", report}});
  const auto ready = [&statuses](const ObjectKey& key) {
    return statuses.at(key).Find("Ready")->reason;
  };
  const ObjectKey edge{Kind::kEdgeNode, "", "vps"};
  const ObjectKey more{Kind::kPortBinding, "default", "more"};
  CHECK(ready(edge) == "Ready");
  CHECK(statuses.at(edge).Find("Programmed")->status == ConditionStatus::kTrue);
  CHECK(ready(more) == "NotProgrammed");
  CHECK(ready({Kind::kPortBinding, "default", "web"}) == "Ready");

  report.settling = false;  // it takes too long
  statuses = MakeStatus(plan, {{"vps", report}});
  CHECK(ready(edge) == "NotProgrammed");
  report.settling = true;
  report.tunnel_up = false;  // what is wrong with the edge is said at once
  statuses = MakeStatus(plan, {{"vps", report}});
  CHECK(ready(edge) == "TunnelDown");
}

TEST_CASE("status_plan: an edge in deletion is not cleared before it says so",
          "[status_plan]") {
  World world = WebWorld();
  const Plan before = PlanOf(world, FactsFor({"vps"}));
  EdgeReports reports{{"vps", Healthy(before, "vps")}};
  world.edge_nodes[0].meta.deleting = true;
  const Plan plan = PlanOf(world, FactsFor({"vps"}));
  CHECK(plan.Edge("vps")->wanted.mappings.empty());
  reports["vps"].settling = true;
  const auto programmed = [&] {
    return Statuses(plan, reports)[0].Find("Programmed")->status;
  };
  CHECK(programmed() == ConditionStatus::kFalse);
  reports["vps"].answered = Share(plan.Edge("vps")->wanted);
  CHECK(programmed() == ConditionStatus::kTrue);
}

TEST_CASE("status_plan: a file that cannot be read is told of a healthy edge",
          "[status_plan]") {
  const Plan plan = PlanOf(WebWorld(), FactsFor({"vps"}));
  EdgeReport report = Healthy(plan, "vps");
  report.file_trouble = "keys/vps.yaml: Is a directory";
  CHECK(
      Text(Statuses(plan, {{"vps", report}}), "vps")
          .starts_with("Enrolled=True Enrolled: keys/vps.yaml: Is a directory\n"
                       "TunnelUp=True TunnelUp\n"));
}

}  // namespace
}  // namespace edged::agent
