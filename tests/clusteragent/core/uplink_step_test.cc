#include "clusteragent/core/uplink_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "common/nftables/print.h"
#include "tests/clusteragent/core/cluster_for_test.h"
#include "tests/clusteragent/core/uplink_for_test.h"

namespace edged::agent {
namespace {

// A world with Services of one endpoint or more behind edges "a" and "b".
struct Shop {
  World world = TwoEdges();

  Shop() {
    world.cluster.emplace();
    world.port_bindings.clear();
  }

  void SetService(const std::string& name, int endpoints, bool affinity) {
    Cluster& cluster = *world.cluster;
    std::erase_if(cluster.services, [&](const Service& service) {
      return service.meta.name == name;
    });
    std::erase_if(cluster.slices, [&](const EndpointSlice& slice) {
      return slice.service == name;
    });
    Service service = ServiceOf(
        "default", name, {{"", Protocol::kTcp, 80}, {"u", Protocol::kUdp, 80}});
    service.client_ip_affinity = affinity;
    std::vector<SliceEndpoint> ready;
    for (int i = 1; i <= endpoints; ++i) {
      ready.push_back(Ready(fmt::format("10.1.0.{}", i)));
    }
    cluster.slices.push_back(SliceOf(
        service, name,
        {{"", Protocol::kTcp, 8080}, {"u", Protocol::kUdp, 8080}}, ready));
    cluster.services.push_back(std::move(service));
  }

  void SetObject(const std::string& name, const std::string& edge,
                 const std::string& service, const std::string& protocol,
                 int64_t port) {
    std::erase_if(world.port_bindings, [&](const PortBinding& object) {
      return object.meta.name == name;
    });
    if (port == 0) return;
    Binding binding = Bind("x", protocol, port);
    if (!service.empty()) {
      binding.target = {};
      binding.target.service = ServiceRef{.name = service, .port = "80"};
    }
    world.port_bindings.push_back(Object(name, edge, {binding}));
  }

  Plan Planned() const { return PlanOf(world, FactsFor({"a", "b"})); }
};

std::vector<EdgeStep> StepsOf(const Plan& before, const Plan& after) {
  std::vector<EdgeStep> steps;
  for (const EdgePlan& edge : after.edges) {
    const EdgePlan* old = before.Edge(edge.edge);
    if (*old != edge) steps.push_back({old, &edge});
  }
  return steps;
}

TEST_CASE("uplink_step: comes to what a whole plan comes to", "[uplink_step]") {
  std::mt19937 random(GENERATE(1U, 2U, 3U));
  const auto below = [&random](size_t bound) { return random() % bound; };
  const UplinkInput input = InputFor({"a", "b"});
  Shop shop;
  Plan before = shop.Planned();
  UplinkPlan plan = MakeUplinkPlan(before, input).value();
  int steps = 0;
  for (int round = 0; round < 400; ++round) {
    INFO("round " << round);
    const std::string service = fmt::format("s{}", below(3));
    if (below(3) == 0) {
      shop.SetService(service, static_cast<int>(below(4)), below(4) == 0);
    } else {
      shop.SetObject(fmt::format("o{}", below(6)), below(2) ? "a" : "b",
                     below(4) == 0 ? "" : service, below(3) ? "TCP" : "UDP",
                     below(5) == 0 ? 0 : static_cast<int64_t>(80 + below(3)));
    }
    Plan after = shop.Planned();
    const UplinkPlan whole = MakeUplinkPlan(after, input).value();
    const auto step = UplinkStep::Make(StepsOf(before, after), input, plan);
    if (step) {
      ++steps;
      REQUIRE(step->change().status().ok());
      CHECK(step->change().empty() == (plan.table == whole.table));
      step->TakeInto(plan);
      REQUIRE(plan == whole);
    }
    plan = whole;
    before = std::move(after);
  }
  CHECK(steps > 200);
}

// Of one edge, from `first` to `second`.
std::optional<UplinkStep> StepFrom(const Shop& first, const Shop& second,
                                   const UplinkInput& input) {
  const Plan before = first.Planned();
  const Plan after = second.Planned();
  return UplinkStep::Make(StepsOf(before, after), input,
                          MakeUplinkPlan(before, input).value());
}

std::string TextOf(const std::optional<UplinkStep>& step) {
  return step ? nftables::Print(step->change()) : "whole";
}

TEST_CASE("uplink_step: another port is one element less and one more",
          "[uplink_step]") {
  Shop shop;
  shop.SetObject("web", "a", "", "TCP", 80);
  shop.SetObject("mail", "b", "", "TCP", 25);
  Shop other = shop;
  other.SetObject("web", "a", "", "TCP", 81);
  CHECK(TextOf(StepFrom(shop, other, InputFor({"a", "b"}))) ==
        "delete element inet clusteragent targets4 { 10.200.0.17 . tcp . 80 }\n"
        "add element inet clusteragent targets4 { 10.200.0.17 . tcp . 81 : "
        "10.0.0.5 . 81 }\n");
}

TEST_CASE("uplink_step: what is more than mappings takes a whole plan",
          "[uplink_step]") {
  Shop shop;
  shop.SetService("web", 2, false);
  shop.SetObject("web", "a", "web", "TCP", 80);
  UplinkInput input = InputFor({"a", "b"});

  SECTION("a map comes") {
    Shop none;
    none.SetService("web", 2, false);
    CHECK_FALSE(StepFrom(none, shop, input));
    CHECK_FALSE(StepFrom(shop, none, input));
  }
  SECTION("the edge itself is another") {
    Shop other = shop;
    other.world.edge_nodes[0].tunnel.persistent_keepalive = 7;
    CHECK_FALSE(StepFrom(shop, other, input));
  }
  SECTION("a fallback route begins") {
    input.without_default = {Family::kIpv4};
    Shop two = shop;
    two.SetObject("more", "a", "web", "TCP", 81);
    CHECK(StepFrom(shop, two, input));
    Shop none = shop;
    none.SetObject("web", "a", "web", "TCP", 0);
    CHECK_FALSE(StepFrom(none, shop, input));
  }
  SECTION("a chain that others use, who are not told of it") {
    Shop both = shop;
    both.SetObject("too", "b", "web", "TCP", 80);
    Shop more = both;
    more.SetService("web", 3, false);
    const Plan before = both.Planned();
    const Plan after = more.Planned();
    std::vector<EdgeStep> steps = StepsOf(before, after);
    REQUIRE(steps.size() == 2);
    const UplinkPlan plan = MakeUplinkPlan(before, input).value();
    CHECK(UplinkStep::Make(steps, input, plan));
    steps.pop_back();
    CHECK_FALSE(UplinkStep::Make(steps, input, plan));
  }
}

}  // namespace
}  // namespace edged::agent
