#include "clusteragent/core/address_pool.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "clusteragent/core/plan_text.h"
#include "clusteragent/core/planner.h"
#include "tests/clusteragent/core/cluster_for_test.h"

namespace edged::agent {
namespace {

const AnnotationNames kNames;

// An annotated Service of namespace "shop", created at `time`.
Service Exposed(const std::string& name, int64_t time,
                std::vector<uint16_t> ports, Labels annotations = {}) {
  Service service = ServiceOf("shop", name, {});
  service.meta.created = At(time);
  service.meta.annotations = std::move(annotations);
  service.meta.annotations.try_emplace(kNames.expose(), "true");
  for (const uint16_t port : ports) {
    service.ports.push_back({fmt::format("p{}", port), Protocol::kTcp, port});
  }
  return service;
}

// Edges "a" with 203.0.113.1 and .2, and "b" with 198.51.100.1.
World WorldWith(std::vector<Service> services) {
  return {
      {Edge("a", {"203.0.113.1", "203.0.113.2"}), Edge("b", {"198.51.100.1"})},
      {},
      Cluster{.services = std::move(services)}};
}

// "one: 203.0.113.1:80; two: NoFreePublicIP"
std::string Shown(const World& world) {
  const Plan plan = PlanOf(world, FactsFor({"a", "b"}));
  std::string text;
  for (const PlannedObject& object : plan.port_bindings) {
    text += (text.empty() ? "" : "; ") + object.key.name + ":";
    if (object.refused) text += " " + object.refused->reason;
    for (const PlannedBinding& binding : object.bindings) {
      if (binding.refused) text += " " + binding.refused->reason;
      for (const Placement& placement : binding.placements) {
        text += placement.refused
                    ? " " + placement.refused->reason
                    : fmt::format(" {}:{}",
                                  placement.listener.public_address.ToString(),
                                  placement.listener.ports.ToString());
      }
    }
  }
  return text;
}

TEST_CASE("exposure: annotations behind another prefix", "[exposure]") {
  Cluster cluster{.services = {ServiceOf("shop", "web", {})},
                  .annotations = {.prefix = "edge.example.com"}};
  Labels& annotations = cluster.services[0].meta.annotations;
  annotations["edged.dev/expose"] = "true";
  CHECK(FindExposures(cluster).empty());
  annotations["edge.example.com/expose"] = "true";
  annotations["edge.example.com/public-ip"] = "x";
  const auto exposures = FindExposures(cluster);
  REQUIRE(exposures.size() == 1);
  CHECK(exposures[0].refused->message ==
        "Service shop/web: metadata.annotations[edge.example.com/public-ip]: "
        "\"x\" is not an IP address");
}

TEST_CASE("exposure: a class, an annotation, or the namespace's",
          "[exposure]") {
  Cluster cluster{.services = {ServiceOf("shop", "web", {}),
                               ServiceOf("default", "kubernetes", {})}};
  const auto count = [&] { return FindExposures(cluster).size(); };
  CHECK(count() == 0);
  Service& web = cluster.services[0];
  web.type = "LoadBalancer";
  CHECK(count() == 0);
  web.load_balancer_class = kLoadBalancerClass;
  CHECK(count() == 1);
  web.load_balancer_class = "other";
  web.meta.annotations[kNames.expose()] = "true";
  CHECK(count() == 1);
  web.meta.annotations.clear();

  cluster.namespaces = {{.meta = {.name = "shop"}},
                        {.meta = {.name = "default"}}};
  for (Namespace& name_space : cluster.namespaces) {
    name_space.meta.annotations[kNames.expose()] = "true";
  }
  CHECK(count() == 1);  // and never the API server
  web.headless = true;
  CHECK(count() == 0);
  web.headless = false;
  web.meta.annotations[kNames.expose()] = "false";
  CHECK(count() == 0);
  web.meta.annotations[kNames.expose()] = "yes";
  CHECK(FindExposures(cluster)[0].refused->message ==
        "Service shop/web: metadata.annotations[edged.dev/expose]: \"yes\" is "
        "neither true nor false");
}

TEST_CASE("exposure: a Service's source ranges and traffic policy are kept",
          "[exposure]") {
  Service web = ServiceOf("shop", "web", {{"http", Protocol::kTcp, 80}});
  web.type = "LoadBalancer";
  web.load_balancer_class = kLoadBalancerClass;
  const auto read = [&web](std::vector<std::string> ranges) {
    web.source_ranges = std::move(ranges);
    return FindExposures({.services = {web}})[0];
  };
  const auto binding = [](const Exposure& exposure) {
    return BindingOf(exposure, {"a"}, {Ip("203.0.113.1")}).bindings[0];
  };
  CHECK(!binding(read({})).access);
  // As everybody else reads what the API server accepts.
  const Exposure exposure =
      read({" 192.0.2.7/24 ", "2001:db8::/32", "0.0.0.0/0"});
  CHECK(!exposure.refused);
  CHECK(binding(exposure).access->allow_cidrs ==
        std::vector<std::string>{"192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"});
  CHECK(binding(exposure).client_ip == "Masquerade");
  web.keeps_client_ip = true;
  CHECK(binding(read({})).client_ip == "Preserve");
  web.keeps_client_ip = false;
  const auto refusal = [&read](const char* range) {
    const Exposure wrong = read({"10.0.0.0/8", range});
    REQUIRE(wrong.refused);
    CHECK(wrong.refused->reason == "InvalidSourceRanges");
    return wrong.refused->message;
  };
  const std::string where =
      "Service shop/web: spec.loadBalancerSourceRanges[1]: ";
  CHECK(refusal("010.0.0.0/8") == where + "\"010.0.0.0/8\" is not a prefix");
  CHECK(refusal("192.0.2.7") ==
        where + "\"192.0.2.7\" is not a prefix: it has no /length");
  for (const char* range : {"", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
                            "10.0.0.0/ 8", "fe80::%1/64", "all"}) {
    CHECK(refusal(range).starts_with(where));
  }
  CHECK(
      read(std::vector<std::string>(1'025, "10.0.0.0/8")).refused->message ==
      "Service shop/web: spec.loadBalancerSourceRanges: has 1025 ranges, more "
      "than 1024");
}

TEST_CASE("address_pool: the address that the fewest use", "[address_pool]") {
  CHECK(Shown(WorldWith({Exposed("one", 1, {80}), Exposed("two", 2, {81}),
                         Exposed("three", 3, {82}),
                         Exposed("four", 4, {83, 84})})) ==
        "four: 203.0.113.1:83 203.0.113.1:84; one: 203.0.113.1:80; "
        "three: 198.51.100.1:82; two: 203.0.113.2:81");
}

TEST_CASE("address_pool: shares an address when ports allow, else one waits",
          "[address_pool]") {
  World world = WorldWith({Exposed("one", 1, {80}), Exposed("two", 2, {81})});
  world.edge_nodes = {Edge("a", {"203.0.113.1"})};
  CHECK(Shown(world) == "one: 203.0.113.1:80; two: 203.0.113.1:81");
  world.cluster->services[1].ports[0].port = 80;
  CHECK(Shown(world) == "one: 203.0.113.1:80; two: NoFreePublicIP");
  // The other protocol is another port.
  world.cluster->services[1].ports[0].protocol = Protocol::kUdp;
  CHECK(Shown(world) == "one: 203.0.113.1:80; two: 203.0.113.1:80");
  world.cluster->services[1].ports = {{"s", Protocol::kTcp, 22}};
  CHECK(Shown(world) == "one: 203.0.113.1:80; two: NoFreePublicIP");
  world.edge_nodes.clear();
  CHECK(Shown(world) == "one: EdgeNodeNotFound; two: EdgeNodeNotFound");
}

TEST_CASE("address_pool: what a Service holds it keeps", "[address_pool]") {
  World world = WorldWith({Exposed("new", 1, {80}), Exposed("old", 2, {80})});
  world.cluster->services[1].load_balancer_ips = {Ip("203.0.113.1")};
  CHECK(Shown(world) == "new: 203.0.113.2:80; old: 203.0.113.1:80");
  // Where status is another's, by our annotation.
  world.cluster->services[1].load_balancer_ips.clear();
  world.cluster->services[1].meta.annotations[kNames.public_addresses()] =
      "203.0.113.2";
  CHECK(Shown(world) == "new: 203.0.113.1:80; old: 203.0.113.2:80");
  // It is no address of an edge any more.
  world.edge_nodes[0].public_ips.pop_back();
  CHECK(Shown(world) == "new: 203.0.113.1:80; old: 198.51.100.1:80");
}

TEST_CASE("address_pool: an older PortBinding has its port, a younger has not",
          "[address_pool]") {
  World world = WorldWith({Exposed("one", 5, {80})});
  world.edge_nodes = {Edge("a", {"203.0.113.1"})};
  PortBinding object = Object("web", "a", {Bind("http", "TCP", 80)});
  object.meta.created = At(1);
  world.port_bindings = {object};
  CHECK(Shown(world) == "web: 203.0.113.1:80; one: NoFreePublicIP");
  world.port_bindings[0].meta.created = At(9);
  CHECK(Shown(world) == "web: ListenerConflict; one: 203.0.113.1:80");
  const Plan plan = PlanOf(world, FactsFor({"a"}));
  CHECK(PlanText(plan).find("held by Service shop/one \"tcp-80\", which is "
                            "older") != std::string::npos);
}

TEST_CASE("address_pool: annotations choose edges and addresses",
          "[address_pool]") {
  const auto shown = [](Labels annotations) {
    return Shown(WorldWith({Exposed("one", 1, {80}, std::move(annotations))}));
  };
  CHECK(shown({{kNames.edge_nodes(), "b"}}) == "one: 198.51.100.1:80");
  CHECK(shown({{kNames.edge_nodes(), "a, b"}}) ==
        "one: 203.0.113.1:80 198.51.100.1:80");
  CHECK(shown({{kNames.edge_nodes(), "c"}}) == "one: EdgeNodeNotFound");
  CHECK(shown({{kNames.public_ip(), "203.0.113.2"}}) == "one: 203.0.113.2:80");
  CHECK(shown({{kNames.public_ip(), "203.0.113.2,198.51.100.1"}}) ==
        "one: 203.0.113.2:80 198.51.100.1:80");
  CHECK(shown({{kNames.public_ip(), "192.0.2.1"}}) == "one: PublicIPNotOnEdge");
  CHECK(shown({{kNames.public_ip(), "x"}}) == "one: InvalidAnnotation");
  CHECK(shown({{kNames.public_ip(), "203.0.113.2"},
               {kNames.edge_nodes(), "b"}}) == "one: PublicIPNotOnEdge");
}

TEST_CASE("address_pool: a dedicated address is nobody else's",
          "[address_pool]") {
  const Labels dedicated = {{kNames.dedicated_ip(), "true"}};
  CHECK(Shown(WorldWith({Exposed("one", 1, {80}, dedicated),
                         Exposed("two", 2, {81}, dedicated),
                         Exposed("three", 3, {82}), Exposed("four", 4, {83}),
                         Exposed("five", 5, {84}, dedicated)})) ==
        "five: NoFreePublicIP; four: 198.51.100.1:83; one: 203.0.113.1:80; "
        "three: 198.51.100.1:82; two: 203.0.113.2:81");
}

// The next three: what an annotation of another tenant's Service may not do.
Service Intruder(Labels annotations) {
  Service service = Exposed("intruder", 9, {81}, std::move(annotations));
  service.meta.name_space = "elsewhere";
  return service;
}

TEST_CASE("address_pool: nobody comes to a dedicated address by saying so",
          "[address_pool]") {
  Service own = Exposed("own", 1, {80}, {{kNames.dedicated_ip(), "true"}});
  own.load_balancer_ips = {Ip("203.0.113.1")};
  CHECK(Shown(WorldWith(
            {own, Intruder({{kNames.public_addresses(), "203.0.113.1"}})})) ==
        "intruder: 203.0.113.2:81; own: 203.0.113.1:80");
}

TEST_CASE("address_pool: nobody makes an address dedicated that others use",
          "[address_pool]") {
  Service own = Exposed("own", 1, {80});
  own.load_balancer_ips = {Ip("203.0.113.1")};
  CHECK(Shown(WorldWith(
            {own, Intruder({{kNames.public_addresses(), "203.0.113.1"},
                            {kNames.dedicated_ip(), "true"}})})) ==
        "intruder: 203.0.113.2:81; own: 203.0.113.1:80");
}

TEST_CASE("address_pool: nobody names an address that is dedicated to another",
          "[address_pool]") {
  Service own = Exposed("own", 1, {80}, {{kNames.dedicated_ip(), "true"}});
  own.load_balancer_ips = {Ip("203.0.113.1")};
  CHECK(Shown(WorldWith(
            {own, Intruder({{kNames.public_ip(), "203.0.113.1"}})})) ==
        "intruder: NoFreePublicIP; own: 203.0.113.1:80");
}

TEST_CASE("address_pool: a dedicated address is no younger PortBinding's",
          "[address_pool]") {
  Service own = Exposed("own", 5, {80}, {{kNames.dedicated_ip(), "true"}});
  own.load_balancer_ips = {Ip("203.0.113.1")};
  World world = WorldWith({own});
  PortBinding object =
      Object("pb", "a", {Bind("x", "TCP", 81), Bind("y", "TCP", 82)});
  object.bindings[1].public_ip = "203.0.113.2";
  object.meta.created = At(9);
  world.port_bindings = {object};
  CHECK(Shown(world) ==
        "pb: NoFreePublicIP 203.0.113.2:82; own: 203.0.113.1:80");
  CHECK(PlanText(PlanOf(world, FactsFor({"a", "b"})))
            .find("NoFreePublicIP: PortBinding default/pb: spec.bindings[0] "
                  "\"x\": 203.0.113.1 of EdgeNode a is dedicated to Service "
                  "shop/own, which is older\n") != std::string::npos);
  // An older one stays, and the Service goes to another address, if there is.
  world.port_bindings[0].meta.created = At(1);
  CHECK(Shown(world) ==
        "pb: 203.0.113.1:81 203.0.113.2:82; own: 198.51.100.1:80");
  auto& annotations = world.cluster->services[0].meta.annotations;
  annotations[kNames.public_ip()] = "203.0.113.1";
  CHECK(PlanText(PlanOf(world, FactsFor({"a", "b"})))
            .find("203.0.113.1 of EdgeNode a cannot be its alone: PortBinding "
                  "default/pb listens there, and is older\n") !=
        std::string::npos);
  annotations.erase(kNames.public_ip());
  annotations[kNames.edge_nodes()] = "a";
  CHECK(PlanText(PlanOf(world, FactsFor({"a", "b"})))
            .find("no public address has tcp/80 free and nobody on it: "
                  "PortBinding default/pb listens on 203.0.113.1 of EdgeNode "
                  "a, and is older\n") != std::string::npos);
}

TEST_CASE("address_pool: a Service of two families gets both, of one edge",
          "[address_pool]") {
  World world = WorldWith({Exposed("one", 1, {80})});
  world.cluster->services[0].cluster_ips.push_back(Ip("fd00::10"));
  world.edge_nodes[1].public_ips.push_back({.address = Ip("2001:db8::1")});
  CHECK(Shown(world) == "one: 203.0.113.1:80");
  world.cluster->services[0].load_balancer_ips = {Ip("2001:db8::1"),
                                                  Ip("198.51.100.1")};
  CHECK(Shown(world) == "one: 198.51.100.1:80 2001:db8::1:80");
}

TEST_CASE("address_pool: an edge is for the namespaces that it lists",
          "[address_pool]") {
  World world = WorldWith({Exposed("one", 1, {80})});
  world.edge_nodes[0].allowed_namespaces = {"default"};
  CHECK(Shown(world) == "one: 198.51.100.1:80");
  world.edge_nodes[1].allowed_namespaces = {"default"};
  CHECK(Shown(world) == "one: EdgeNodeNotFound");
}

}  // namespace
}  // namespace edged::agent
