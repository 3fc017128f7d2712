// What a plan makes of bindings to Services.

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "clusteragent/core/plan_text.h"
#include "clusteragent/core/planner.h"
#include "tests/clusteragent/core/cluster_for_test.h"

namespace edged::agent {
namespace {

Binding BindService(const std::string& name, int64_t port,
                    const std::string& service_port) {
  Binding binding = Bind(name, "TCP", port);
  binding.target = {.service = ServiceRef{.name = "web", .port = service_port}};
  return binding;
}

// The mappings, and what is refused, as `clusteragent plan` shows them.
std::string Shown(const World& world, const Facts& facts = FactsFor({"a"})) {
  const std::string all = PlanText(PlanOf(world, facts));
  std::string text;
  for (size_t at = 0; at < all.size();) {
    const size_t end = all.find('\n', at);
    const std::string line = all.substr(at, end - at);
    const bool is_mapping = line.starts_with("  map");
    const bool is_refusal = line.find(": PortBinding") != std::string::npos;
    if (is_mapping || is_refusal) text += line.substr(2) + "\n";
    at = end + 1;
  }
  return text;
}

// Edge "a" with an address of each family, and a Service with two endpoints.
struct Shop {
  World world{{Edge("a", {"203.0.113.1", "2001:db8::1"})},
              {Object("web", "a", {BindService("http", 80, "http")})},
              Cluster()};

  Shop() {
    Cluster& cluster = *world.cluster;
    cluster.services = {
        ServiceOf("default", "web", {{"http", Protocol::kTcp, 80}})};
    cluster.slices = {SliceOf(cluster.services[0], "web-1",
                              {{"http", Protocol::kTcp, 8080}},
                              {Ready("10.1.0.1"), Ready("10.1.0.2")})};
  }
  Service& service() { return world.cluster->services[0]; }
  EndpointSlice& slice() { return world.cluster->slices[0]; }
  Binding& binding() { return world.port_bindings[0].bindings[0]; }
};

TEST_CASE("service_plan: a Service's endpoints stand behind a mapping",
          "[service_plan]") {
  Shop shop;
  CHECK(Shown(shop.world) ==
        "map  203.0.113.1 tcp/80  to  default/web:http (10.1.0.1:8080 "
        "10.1.0.2:8080)  Masquerade  default/web/http\n");
  shop.service().client_ip_affinity = true;
  shop.slice().endpoints.clear();
  CHECK(Shown(shop.world) ==
        "map  203.0.113.1 tcp/80  to  default/web:http (no endpoint, by "
        "client)  Masquerade  default/web/http\n");
  shop.binding().target.via = "ClusterIP";
  CHECK(Shown(shop.world) ==
        "map  203.0.113.1 tcp/80  to  default/web:http via ClusterIP "
        "(10.96.0.10:80)  Masquerade  default/web/http\n");
}

TEST_CASE(
    "service_plan: endpoints that come and go are none of the edge's "
    "business",
    "[service_plan]") {
  Shop shop;
  const auto wanted = [&] {
    return PlanOf(shop.world, FactsFor({"a"})).Edge("a")->wanted;
  };
  const auto before = wanted();
  shop.slice().endpoints = {Ready("10.1.0.7")};
  CHECK(wanted() == before);
}

TEST_CASE("service_plan: without Kubernetes there are no Services",
          "[service_plan]") {
  Shop shop;
  shop.world.cluster.reset();
  CHECK(Shown(shop.world) ==
        "ServiceTargetsNeedKubernetes: PortBinding default/web: "
        "spec.bindings[0] \"http\": target.service: Service \"web\" cannot be "
        "looked up without Kubernetes; use target.address\n");
}

TEST_CASE("service_plan: only the binding whose Service is missing waits",
          "[service_plan]") {
  Shop shop;
  Binding other = BindService("other", 81, "http");
  other.target.service->name = "gone";
  shop.world.port_bindings[0].bindings.push_back(other);
  shop.world.port_bindings[0].bindings.push_back(Bind("raw", "TCP", 82));
  const std::string shown = Shown(shop.world);
  CHECK(shown.find("tcp/80  to  default/web:http (10.1.0.1:8080") !=
        std::string::npos);
  CHECK(shown.find("tcp/82  to  10.0.0.5:82") != std::string::npos);
  CHECK(shown.ends_with(
      "ServiceNotFound: PortBinding default/web: spec.bindings[1] \"other\": "
      "there is no Service default/gone\n"));
}

TEST_CASE(
    "service_plan: a Service of both families, of one, of none that "
    "works here",
    "[service_plan]") {
  Shop shop;
  shop.binding().public_ip = "*";
  Facts facts = FactsFor({"a"});
  const std::string ipv4 =
      "map  203.0.113.1 tcp/80  to  default/web:http (10.1.0.1:8080 "
      "10.1.0.2:8080)  Masquerade  default/web/http\n";
  CHECK(Shown(shop.world, facts) == ipv4);

  shop.service().cluster_ips.push_back(Ip("fd00::10"));
  shop.world.cluster->slices.push_back(SliceOf(shop.service(), "web-6",
                                               {{"http", Protocol::kTcp, 8080}},
                                               {Ready("fd00:1::1")}));
  CHECK(
      Shown(shop.world, facts)
          .find(
              "2001:db8::1 tcp/80  to  default/web:http ([fd00:1::1]:8080)") !=
      std::string::npos);

  // What cannot be done for one family leaves the other alone.
  facts.ipv6.off = "the kernel has no IPv6";
  CHECK(Shown(shop.world, facts) == ipv4);
  shop.binding().public_ip = "2001:db8::1";
  CHECK(Shown(shop.world, facts) ==
        "Ipv6NotAvailable: PortBinding default/web: spec.bindings[0] "
        "\"http\": Service default/web:http: the kernel has no IPv6\n");
  shop.world.cluster->slices.pop_back();
  shop.service().cluster_ips.pop_back();
  CHECK(Shown(shop.world, FactsFor({"a"})) ==
        "FamilyMismatch: PortBinding default/web: spec.bindings[0] \"http\": "
        "public address 2001:db8::1 and Service default/web:http are of "
        "different families\n");
}

TEST_CASE(
    "service_plan: the client's address stays with endpoints on the "
    "uplink's host",
    "[service_plan]") {
  Shop shop;
  shop.binding().client_ip = "Preserve";
  CHECK(Shown(shop.world) ==
        "PreserveNotPossible: PortBinding default/web: spec.bindings[0] "
        "\"http\": clientIP: Preserve needs an endpoint on the host of an "
        "uplink, and Service default/web:http has none there\n");
  shop.slice().endpoints.push_back(Ready("192.168.1.10"));
  CHECK(Shown(shop.world) ==
        "map  203.0.113.1 tcp/80  to  default/web:http on this host "
        "(192.168.1.10:8080)  Preserve  default/web/http\n");

  // Endpoints on two hosts: each uplink leads to its own.
  Facts facts = FactsFor({"a"});
  facts.uplinks.push_back({.name = "second",
                           .keys = {{"a", KeyNumber(2)}},
                           .addresses = {Ip("192.168.1.11")}});
  shop.slice().endpoints.push_back(Ready("192.168.1.11"));
  const Plan here = PlanOf(shop.world, facts);
  facts.own_uplink = "second";
  facts.local_addresses = {Ip("192.168.1.11")};
  const Plan there = PlanOf(shop.world, facts);
  CHECK(here.Edge("a")->wanted == there.Edge("a")->wanted);
  CHECK(here.Edge("a")->wanted.groups.at(0).uplinks ==
        std::vector<std::string>{"home", "second"});
  CHECK(here.Edge("a")->mappings.at(0).backend.endpoints ==
        std::vector<SocketAddress>{{Ip("192.168.1.10"), 8080}});
  CHECK(there.Edge("a")->mappings.at(0).backend.endpoints ==
        std::vector<SocketAddress>{{Ip("192.168.1.11"), 8080}});
}

TEST_CASE("service_plan: no endpoint leads back into a tunnel",
          "[service_plan]") {
  Shop shop;
  shop.slice().endpoints.push_back(Ready("10.200.0.1"));
  CHECK(Shown(shop.world) ==
        "InvalidTarget: PortBinding default/web: spec.bindings[0] \"http\": "
        "Service default/web:http: 10.200.0.1 lies in the tunnel network "
        "10.200.0.0/22 of EdgeNode a\n");
}

TEST_CASE("service_plan: via is one of two words, and a Service's",
          "[service_plan]") {
  Shop shop;
  shop.binding().target.via = "NodePort";
  CHECK(Shown(shop.world).starts_with("InvalidTarget: "));
  shop.binding().target = {
      .address = "10.0.0.5", .port = 80, .via = "ClusterIP"};
  CHECK(Shown(shop.world).starts_with("InvalidTarget: "));
}

}  // namespace
}  // namespace edged::agent
