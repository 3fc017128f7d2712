#include "clusteragent/core/island_planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "clusteragent/core/exposure.h"
#include "clusteragent/core/plan_text.h"
#include "tests/clusteragent/core/cluster_for_test.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

using Name = ObjectStore::Name;

constexpr int kEdges = 6;
constexpr int kObjects = 10;  // of each kind at most

World WorldOf(const ObjectStore& store) {
  World world = store.EdgeWorld();
  for (const auto& [name, object] : store.port_bindings()) {
    world.port_bindings.push_back(object);
  }
  Cluster& cluster = world.cluster.emplace();
  cluster.annotations = store.annotations();
  std::set<std::string> namespaces;
  for (const auto& [name, service] : store.services()) {
    cluster.services.push_back(service);
    for (const auto& slice : store.SlicesOf(name)) {
      cluster.slices.push_back(slice);
    }
  }
  for (const auto& [name, name_space] : store.namespaces()) {
    cluster.namespaces.push_back(name_space);
    for (const auto& grant : store.GrantsOf(name)) {
      cluster.grants.push_back(grant);
    }
  }
  FillHolders(cluster);
  return world;
}

// A world in which objects come, change and go by chance.
class Chance {
 public:
  explicit Chance(unsigned seed) : random_(seed) {
    store_.UseCluster({});
    ChangeEdges();
    ChangeNamespaces();
  }

  ObjectStore& store() { return store_; }

  void Change() {
    switch (Below(12)) {
      case 0:
        return Below(4) == 0 ? ChangeEdges() : ChangeNamespaces();
      case 1:
        return store_.RemovePortBinding(AnyName("pb"));
      case 2:
        return store_.RemoveService(AnyName("s"));
      case 3:
      case 4:
        return ChangeEndpoints();
      case 5:
      case 6:
      case 7:
        return store_.Put(SomeBinding());
      default:
        return store_.Put(SomeService());
    }
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }
  std::string NameSpace() { return Below(2) == 0 ? "a" : "b"; }
  std::string EdgeName() { return fmt::format("e{}", Below(kEdges)); }
  Name AnyName(const char* kind) {
    return {NameSpace(), fmt::format("{}{}", kind, Below(kObjects))};
  }
  int64_t Port() { return static_cast<int64_t>(80 + Below(4)); }

  void ChangeEdges() {
    std::vector<EdgeNode> nodes;
    for (int i = 0; i < kEdges; ++i) {
      EdgeNode node =
          Edge(fmt::format("e{}", i), {fmt::format("203.0.113.{}", 2 * i + 1),
                                       fmt::format("203.0.113.{}", 2 * i + 2)});
      if (Below(3) == 0) node.allowed_namespaces = {NameSpace()};
      node.meta.labels["half"] = i % 2 == 0 ? "even" : "odd";
      if (Below(6) > 0) nodes.push_back(node);
    }
    store_.SetEdgeNodes(nodes);
  }

  void ChangeNamespaces() {
    Namespace a{.meta = {.name = "a"}};
    if (Below(4) == 0) a.meta.annotations["edged.dev/expose"] = "true";
    Namespace b{.meta = {.name = "b"}};
    if (Below(2) == 0) b.meta.labels["edged.dev/allow-port-bindings"] = "true";
    store_.SetNamespaces({a, b});
    ReferenceGrant grant{.meta = {.name_space = "a", .name = "g"},
                         .from = {{"edged.dev", "PortBinding", "b"}},
                         .to = {{"", "Service", AnyName("s").second}}};
    if (Below(2) == 0) grant.to[0].name.clear();
    store_.SetGrants(Below(2) == 0 ? std::vector<ReferenceGrant>()
                                   : std::vector{grant});
  }

  // One that Services and Pods have, and one that they have not.
  std::string SomeAddress() {
    static const std::vector<std::string> kAddresses = {
        "10.0.0.5", "10.96.0.10", "10.1.0.1", "10.1.0.2"};
    return kAddresses[Below(kAddresses.size())];
  }

  void ChangeEndpoints() {
    const Name name = AnyName("s");
    EndpointSlice slice{.meta = {.name_space = name.first, .name = "x"},
                        .service = name.second};
    slice.ports = {{"", Protocol::kTcp, 8080}};
    for (size_t i = Below(3); i > 0; --i) {
      slice.endpoints.push_back(Ready(fmt::format("10.1.0.{}", i)));
    }
    Service ignored;
    if (Below(2) == 0) SelectPods(ignored, slice);
    store_.SetSlices(name, {slice});
  }

  PortBinding SomeBinding() {
    const Name name = AnyName("pb");
    PortBinding object = Object(name.second, EdgeName(), {});
    object.meta.name_space = name.first;
    object.meta.created = At(static_cast<int64_t>(Below(50)));
    object.meta.deleting = Below(10) == 0;
    if (Below(3) == 0) {
      object.edge_node.reset();
      object.edge_node_selector =
          Selector{{{"half", Below(2) == 0 ? "even" : "none"}}};
    }
    for (size_t i = 0; i <= Below(2); ++i) {
      Binding binding = Bind(fmt::format("b{}", i), "TCP", Port());
      binding.target.address = SomeAddress();
      if (Below(2) == 0) {
        binding.target = {};
        const Name target = AnyName("s");
        binding.target.service = ServiceRef{
            .name = target.second, .name_space = target.first, .port = "80"};
      }
      object.bindings.push_back(binding);
    }
    return object;
  }

  Service SomeService() {
    const Name name = AnyName("s");
    Service service =
        ServiceOf(name.first, name.second,
                  {{"", Protocol::kTcp, static_cast<uint16_t>(Port())}});
    service.meta.created = At(static_cast<int64_t>(Below(50)));
    service.meta.deleting = Below(10) == 0;
    service.has_selector = Below(2) == 0;
    if (Below(2) == 0) service.cluster_ips.clear();
    auto& annotations = service.meta.annotations;
    if (Below(3) > 0) {
      service.type = "LoadBalancer";
      service.load_balancer_class = kLoadBalancerClass;
    }
    if (Below(2) == 0) annotations["edged.dev/edge-nodes"] = EdgeName();
    if (Below(5) == 0) annotations["edged.dev/dedicated-ip"] = "true";
    if (Below(4) == 0) {
      service.load_balancer_ips = {
          Ip(fmt::format("203.0.113.{}", 1 + Below(12)))};
    }
    return service;
  }

  std::mt19937 random_;
  ObjectStore store_;
};

// What Compare() of the planner should say, the slow way.
template <typename T, typename Key>
void AddDifferences(const std::vector<T>& before, const std::vector<T>& after,
                    Key T::*key, std::set<Key>& keys) {
  const auto add = [&](const std::vector<T>& some, const std::vector<T>& rest) {
    for (const T& entry : some) {
      if (std::ranges::find(rest, entry) == rest.end()) keys.insert(entry.*key);
    }
  };
  add(before, after);
  add(after, before);
}

TEST_CASE("island_planner: plans as a whole world is planned, change by change",
          "[island_planner]") {
  const unsigned seed = GENERATE(1U, 2U, 3U, 4U);
  Chance chance(seed);
  ObjectStore& store = chance.store();
  const Facts facts = FactsFor({"e0", "e1", "e2", "e3"});
  IslandPlanner planner;
  size_t partial = 0;
  for (int round = 0; round < 300; ++round) {
    INFO("seed " << seed << ", round " << round);
    chance.Change();
    if (round % 7 == 0) chance.Change();
    const Allocation allocation = Allocate({}, store.EdgeWorld(), facts);
    const Plan before = planner.plan();
    partial += store.changes().everything ? 0 : 1;
    const auto difference = planner.Replan(store, allocation, facts);
    store.ForgetChanges();
    const Plan whole = MakePlan(WorldOf(store), allocation, facts);
    REQUIRE(PlanText(planner.plan()) == PlanText(whole));
    REQUIRE(planner.plan() == whole);
    IslandPlanner::Difference expected;
    AddDifferences(before.edges, whole.edges, &EdgePlan::edge, expected.edges);
    AddDifferences(before.edge_nodes, whole.edge_nodes, &PlannedEdge::key,
                   expected.objects);
    AddDifferences(before.port_bindings, whole.port_bindings,
                   &PlannedObject::key, expected.objects);
    REQUIRE(difference.edges == expected.edges);
    REQUIRE(difference.objects == expected.objects);
  }
  CHECK(partial > 150);
}

// Edges e0 and e1, each with an object of its own.
ObjectStore TwoIslands() {
  ObjectStore store;
  store.SetEdgeNodes(
      {Edge("e0", {"203.0.113.1"}), Edge("e1", {"203.0.113.2"})});
  store.Put(Object("zero", "e0", {Bind("x", "TCP", 80)}));
  store.Put(Object("one", "e1", {Bind("x", "TCP", 80)}));
  return store;
}

TEST_CASE("island_planner: a change touches its own edge alone",
          "[island_planner]") {
  ObjectStore store = TwoIslands();
  const Facts facts = FactsFor({"e0", "e1"});
  const Allocation allocation = Allocate({}, store.EdgeWorld(), facts);
  IslandPlanner planner;
  CHECK(planner.Replan(store, allocation, facts).edges ==
        std::set<std::string>{"e0", "e1"});
  store.ForgetChanges();
  CHECK(planner.Replan(store, allocation, facts).empty());

  store.Put(Object("one", "e1", {Bind("x", "TCP", 81)}));
  const auto difference = planner.Replan(store, allocation, facts);
  CHECK(difference.edges == std::set<std::string>{"e1"});
  const ObjectKey one{Kind::kPortBinding, "default", "one"};
  CHECK(difference.objects == std::set<ObjectKey>{one});
  const ObjectKey node{Kind::kEdgeNode, "", "e1"};
  CHECK(planner.ObjectsOf("e1") == std::set<ObjectKey>{node, one});
}

// A binding of each edge to an address of one namespace.
ObjectStore ToShop() {
  ObjectStore store = TwoIslands();
  store.UseCluster({});
  for (const char* name : {"zero", "one"}) {
    PortBinding object = store.port_bindings().at({"default", name});
    object.bindings[0].target.address =
        name == std::string("zero") ? "10.96.0.1" : "10.96.0.2";
    store.Put(object);
  }
  store.SetNamespaces({{.meta = {.name = "shop"}}, {.meta = {.name = "x"}}});
  store.Put(
      ServiceOf("shop", "api", {{"", Protocol::kTcp, 80}}, {"10.96.0.1"}));
  return store;
}

TEST_CASE("island_planner: who gets an address touches those that lead there",
          "[island_planner]") {
  ObjectStore store = ToShop();
  const Facts facts = FactsFor({"e0", "e1"});
  const Allocation allocation = Allocate({}, store.EdgeWorld(), facts);
  IslandPlanner planner;
  planner.Replan(store, allocation, facts);
  store.ForgetChanges();
  const auto denied = [&planner](const char* name) {
    const auto& planned =
        *planner.plan().Object({Kind::kPortBinding, "default", name});
    return planned.bindings[0].refused ? planned.bindings[0].refused->reason
                                       : std::string();
  };
  CHECK(denied("zero") == "TargetDenied");
  CHECK(denied("one").empty());
  const auto touched = [&] {
    CHECK_FALSE(store.changes().everything);
    auto difference = planner.Replan(store, allocation, facts);
    store.ForgetChanges();
    return difference.edges;
  };
  using Edges = std::set<std::string>;

  store.Put(ServiceOf("x", "new", {{"", Protocol::kTcp, 80}}, {"10.96.0.2"}));
  CHECK(touched() == Edges{"e1"});
  CHECK(denied("one") == "TargetDenied");
  store.RemoveService({"x", "new"});
  CHECK(touched() == Edges{"e1"});
  CHECK(denied("one").empty());

  Namespace shop{.meta = {.name = "shop"}};
  shop.meta.labels["edged.dev/allow-port-bindings"] = "true";
  store.SetNamespaces({shop, {.meta = {.name = "x"}}});
  CHECK(touched() == Edges{"e0"});
  CHECK(denied("zero").empty());
  shop.meta.labels["edged.dev/allow-port-bindings"] = "false";
  store.SetNamespaces({shop, {.meta = {.name = "x"}}});
  CHECK(touched() == Edges{"e0"});
  CHECK(denied("zero") == "TargetDenied");
}

TEST_CASE("island_planner: other facts are a change of everything",
          "[island_planner]") {
  ObjectStore store = TwoIslands();
  Facts facts = FactsFor({"e0", "e1"});
  const Allocation allocation = Allocate({}, store.EdgeWorld(), facts);
  IslandPlanner planner;
  planner.Replan(store, allocation, facts);
  store.ForgetChanges();
  facts.edges["e0"].reserved_ports = {{Protocol::kTcp, 80}};
  const auto difference = planner.Replan(store, allocation, facts);
  CHECK(difference.edges == std::set<std::string>{"e0"});
}

}  // namespace
}  // namespace edged::agent
