#include "clusteragent/core/service_target.h"

#include <catch2/catch.hpp>

#include "tests/clusteragent/core/cluster_for_test.h"

namespace edged::agent {
namespace {

constexpr Protocol kTcp = Protocol::kTcp;
constexpr Protocol kUdp = Protocol::kUdp;

TargetUser User(PortRange ports, Protocol protocol = kTcp,
                const std::string& name_space = "default") {
  return {.name_space = name_space,
          .protocol = protocol,
          .ports = ports,
          .where = "PortBinding " + name_space + "/b: spec.bindings[0] \"x\""};
}

// "10.1.0.1:8080 10.1.0.2:8080", one line for each family; of a refusal its
// reason.
std::string Shown(const std::variant<Backends, Refusal>& result) {
  if (const auto* refusal = std::get_if<Refusal>(&result)) {
    return refusal->reason;
  }
  std::string text;
  for (const auto& [family, backend] : std::get<Backends>(result)) {
    text += family == Family::kIpv4 ? "4:" : "6:";
    for (const SocketAddress& endpoint : backend.endpoints) {
      text += " " + endpoint.ToString();
    }
    if (backend.client_ip_affinity) text += " by client";
    text += "\n";
  }
  return text;
}

std::string MessageOf(const std::variant<Backends, Refusal>& result) {
  return std::get<Refusal>(result).message;
}

using Endpoints = std::vector<SliceEndpoint>;

struct Shop {
  Service web =
      ServiceOf("default", "web", {{"http", kTcp, 80}, {"dns", kUdp, 53}});
  Cluster cluster;

  explicit Shop(std::vector<SliceEndpoint> endpoints = {Ready("10.1.0.2"),
                                                        Ready("10.1.0.1")}) {
    cluster.slices = {SliceOf(web, "web-1",
                              {{"http", kTcp, 8080}, {"dns", kUdp, 5353}},
                              std::move(endpoints))};
    cluster.services = {web};
  }

  std::variant<Backends, Refusal> Ask(const std::string& port,
                                      Protocol protocol = kTcp,
                                      bool via_cluster_ip = false) const {
    return ServiceTargets(cluster).Resolve(
        {"default", "web", port, via_cluster_ip}, User({443, 443}, protocol));
  }
};

TEST_CASE("service_target: ports are found by name, by number, by protocol",
          "[service_target]") {
  const Shop shop;
  CHECK(Shown(shop.Ask("http")) == "4: 10.1.0.1:8080 10.1.0.2:8080\n");
  CHECK(Shown(shop.Ask("80")) == "4: 10.1.0.1:8080 10.1.0.2:8080\n");
  CHECK(Shown(shop.Ask("53", kUdp)) == "4: 10.1.0.1:5353 10.1.0.2:5353\n");
  CHECK(Shown(shop.Ask("53")) == "TargetPortNotListening");
  CHECK(Shown(shop.Ask("8080")) == "TargetPortNotListening");
  CHECK(MessageOf(shop.Ask("http", kUdp)) ==
        "PortBinding default/b: spec.bindings[0] \"x\": Service default/web "
        "does not publish http/UDP; it publishes http 80/TCP, dns 53/UDP");
}

TEST_CASE("service_target: takes the types that have a cluster IP",
          "[service_target]") {
  Shop shop;
  for (const char* type : {"ClusterIP", "NodePort", "LoadBalancer"}) {
    shop.cluster.services[0].type = type;
    CHECK(Shown(shop.Ask("80")) == "4: 10.1.0.1:8080 10.1.0.2:8080\n");
  }
  shop.cluster.services[0].type = "ExternalName";
  CHECK(Shown(shop.Ask("80")) == "UnsupportedServiceType");
  shop.cluster.services[0].type = "ClusterIP";
  shop.cluster.services[0].headless = true;
  CHECK(Shown(shop.Ask("80")) == "UnsupportedServiceType");
  shop.cluster.services.clear();
  CHECK(Shown(shop.Ask("80")) == "ServiceNotFound");
}

TEST_CASE("service_target: endpoints as kube-proxy takes them",
          "[service_target]") {
  CHECK(Shown(Shop(Endpoints{Ready("10.1.0.1"), NotReady("10.1.0.2"),
                             Ending("10.1.0.3")})
                  .Ask("80")) == "4: 10.1.0.1:8080\n");
  CHECK(Shown(Shop(Endpoints{NotReady("10.1.0.2"), Ending("10.1.0.3")})
                  .Ask("80")) == "4: 10.1.0.3:8080\n");
  // Nobody serves: the target stands, and refuses.
  CHECK(Shown(Shop(Endpoints{NotReady("10.1.0.2")}).Ask("80")) == "4:\n");
  CHECK(Shown(Shop(Endpoints{Ready("169.254.0.1")}).Ask("80")) ==
        "4: 169.254.0.1:8080\n");
}

TEST_CASE("service_target: an endpoint that may be no address's is none here",
          "[service_target]") {
  for (const char* address :
       {"127.0.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200",
        "224.0.0.1", "0.0.0.0", "255.255.255.255"}) {
    INFO(address);
    CHECK(Shown(Shop(Endpoints{Ready("10.1.0.1"), NotReady(address)})
                    .Ask("80")) == "InvalidTarget");
  }
  const auto asked = Shop(Endpoints{Ready("100.100.100.200")}).Ask("80");
  CHECK(std::get<Refusal>(asked).message.ends_with(
      "endpoint 100.100.100.200 of EndpointSlice web-1 is where a cloud tells "
      "a machine its own keys"));
}

TEST_CASE("service_target: an endpoint of two slices counts once",
          "[service_target]") {
  Shop shop(Endpoints{Ready("10.1.0.1"), NotReady("10.1.0.2")});
  shop.cluster.slices.push_back(
      SliceOf(shop.web, "web-2", {{"http", kTcp, 8080}},
              {Ready("10.1.0.1"), Ready("10.1.0.2")}));
  // Pods whose named port differs have a slice of their own.
  shop.cluster.slices.push_back(
      SliceOf(shop.web, "web-3", {{"http", kTcp, 9090}}, {Ready("10.1.0.3")}));
  // Of another Service, or without the port.
  shop.cluster.slices.push_back(
      SliceOf(shop.web, "web-4", {}, {Ready("10.1.0.4")}));
  CHECK(Shown(shop.Ask("80")) ==
        "4: 10.1.0.1:8080 10.1.0.2:8080 10.1.0.3:9090\n");
}

TEST_CASE("service_target: the cluster IP instead of the endpoints",
          "[service_target]") {
  Shop shop(Endpoints{});
  shop.cluster.services[0].cluster_ips = {Ip("10.96.0.10"), Ip("fd00::10")};
  CHECK(Shown(shop.Ask("http", kTcp, true)) ==
        "4: 10.96.0.10:80\n6: [fd00::10]:80\n");
}

TEST_CASE("service_target: both families and the client's affinity",
          "[service_target]") {
  Shop shop;
  shop.cluster.services[0].cluster_ips = {Ip("10.96.0.10"), Ip("fd00::10")};
  shop.cluster.services[0].client_ip_affinity = true;
  CHECK(Shown(shop.Ask("80")) ==
        "4: 10.1.0.1:8080 10.1.0.2:8080 by client\n6: by client\n");
  shop.cluster.slices.push_back(
      SliceOf(shop.web, "web-6", {{"http", kTcp, 8080}}, {Ready("fd00:1::1")}));
  CHECK(Shown(shop.Ask("80")) ==
        "4: 10.1.0.1:8080 10.1.0.2:8080 by client\n"
        "6: [fd00:1::1]:8080 by client\n");
}

TEST_CASE("service_target: a range keeps its ports", "[service_target]") {
  const Service games =
      ServiceOf("default", "games", {{"a", kUdp, 5000}, {"b", kUdp, 5001}});
  Cluster cluster{.services = {games},
                  .slices = {SliceOf(games, "games-1",
                                     {{"a", kUdp, 5000}, {"b", kUdp, 5001}},
                                     {Ready("10.1.0.1")})}};
  const ServiceTarget target{"default", "games", "", false};
  const auto ask = [&](PortRange ports) {
    return ServiceTargets(cluster).Resolve(target, User(ports, kUdp));
  };
  CHECK(Shown(ask({5000, 5001})) == "4: 10.1.0.1:5000\n");
  CHECK(Shown(ask({5000, 5002})) == "TargetPortNotListening");
  cluster.slices[0].ports[1].port = 6001;
  CHECK(Shown(ask({5000, 5001})) == "InvalidRange");
  CHECK(MessageOf(ask({5000, 5001}))
            .ends_with("a range keeps its ports, but Service default/games "
                       "leads from port "
                       "5001 to 6001"));
}

TEST_CASE("service_target: another namespace must consent",
          "[service_target]") {
  const Service api = ServiceOf("shop", "api", {{"", kTcp, 80}});
  Cluster cluster{
      .services = {api},
      .slices = {SliceOf(api, "api-1", {{"", kTcp, 80}}, {Ready("10.1.0.9")})}};
  const auto ask = [&](const std::string& from) {
    return Shown(ServiceTargets(cluster).Resolve({"shop", "api", "80", false},
                                                 User({80, 80}, kTcp, from)));
  };
  const std::string served = "4: 10.1.0.9:80\n";
  CHECK(ask("shop") == served);
  CHECK(ask("default") == "TargetDenied");

  SECTION("by a label") {
    cluster.namespaces = {{.meta = {.name = "shop"}}};
    CHECK(ask("default") == "TargetDenied");
    cluster.namespaces[0].meta.labels[AnnotationNames().allow_port_bindings()] =
        "yes";
    CHECK(ask("default") == "TargetDenied");
    cluster.namespaces[0].meta.labels[AnnotationNames().allow_port_bindings()] =
        "true";
    CHECK(ask("default") == served);
  }
  SECTION("by a grant in the target's namespace") {
    cluster.grants = {{.meta = {.name_space = "shop", .name = "g"},
                       .from = {{"edged.dev", "PortBinding", "default"}},
                       .to = {{"", "Service", "api"}}}};
    CHECK(ask("default") == served);
    CHECK(ask("other") == "TargetDenied");
    cluster.grants[0].to[0].name = "";
    CHECK(ask("default") == served);
    cluster.grants[0].to[0].name = "db";
    CHECK(ask("default") == "TargetDenied");
    cluster.grants[0].to = {{"", "Secret", ""}};
    CHECK(ask("default") == "TargetDenied");
    cluster.grants[0].to = {{"", "Service", ""}};
    cluster.grants[0].meta.name_space = "default";
    CHECK(ask("default") == "TargetDenied");
  }
}

// Namespace "shop" with a Service whose Pod is 10.1.0.9, and one without Pods.
Cluster WithPod() {
  Service api = ServiceOf("shop", "api", {{"", kTcp, 80}}, {"10.96.0.20"});
  EndpointSlice slice =
      SliceOf(api, "api-1", {{"", kTcp, 8080}}, {Ready("10.1.0.9")});
  SelectPods(api, slice);
  Cluster cluster{.services = {api, ServiceOf("shop", "empty", {{"", kTcp, 80}},
                                              {"10.96.0.21"})},
                  .slices = {slice}};
  FillHolders(cluster);
  return cluster;
}

std::string AskAddress(const Cluster& cluster, const std::string& address,
                       uint16_t port, const std::string& from = "default") {
  const auto refusal = ServiceTargets(cluster).JudgeAddress(
      {Ip(address), port}, User({443, 443}, kTcp, from));
  return refusal ? refusal->reason : "";
}

TEST_CASE("service_target: another namespace's address needs its consent",
          "[service_target]") {
  Cluster cluster = WithPod();
  for (const char* address : {"10.1.0.9", "10.96.0.20", "10.96.0.21"}) {
    INFO(address);
    CHECK(AskAddress(cluster, address, 9999) == "TargetDenied");
    CHECK(AskAddress(cluster, address, 9999, "shop").empty());
  }
  CHECK(AskAddress(cluster, "10.1.0.8", 80).empty());
  CHECK(ServiceTargets(cluster)
            .JudgeAddress({Ip("10.1.0.9"), 8080}, User({443, 443}))
            ->message ==
        "PortBinding default/b: spec.bindings[0] \"x\": target.address: "
        "10.1.0.9 is of namespace \"shop\", which has neither the label "
        "edged.dev/allow-port-bindings=true nor a ReferenceGrant for "
        "PortBindings of namespace \"default\"");

  SECTION("by its label") {
    cluster.namespaces = {{.meta = {.name = "shop"}}};
    cluster.namespaces[0].meta.labels["edged.dev/allow-port-bindings"] = "true";
    CHECK(AskAddress(cluster, "10.1.0.9", 9999).empty());
  }
  SECTION("by a grant: of one Service for what it publishes") {
    cluster.grants = {{.meta = {.name_space = "shop", .name = "g"},
                       .from = {{"edged.dev", "PortBinding", "default"}},
                       .to = {{"", "Service", "api"}}}};
    CHECK(AskAddress(cluster, "10.1.0.9", 8080).empty());
    CHECK(AskAddress(cluster, "10.1.0.9", 9999) == "TargetDenied");
    CHECK(AskAddress(cluster, "10.96.0.20", 80).empty());
    CHECK(AskAddress(cluster, "10.96.0.21", 80) == "TargetDenied");
    CHECK(AskAddress(cluster, "10.1.0.9", 8080, "other") == "TargetDenied");
    cluster.grants[0].to[0].name = "";
    CHECK(AskAddress(cluster, "10.1.0.9", 9999).empty());
  }
  SECTION("of each namespace that has it") {
    // A Pod on its node's network, as that of "shop".
    Service own = ServiceOf("default", "own", {{"", kTcp, 80}}, {});
    EndpointSlice slice =
        SliceOf(own, "own-1", {{"", kTcp, 8080}}, {Ready("10.1.0.9")});
    SelectPods(own, slice);
    cluster.services.push_back(own);
    cluster.slices.push_back(slice);
    FillHolders(cluster);
    CHECK(AskAddress(cluster, "10.1.0.9", 8080) == "TargetDenied");
    CHECK(AskAddress(cluster, "10.1.0.9", 8080, "shop") == "TargetDenied");
    // Its own endpoints are no question of addresses.
    CHECK(Shown(ServiceTargets(cluster).Resolve({"default", "own", "80", false},
                                                User({443, 443}))) ==
          "4: 10.1.0.9:8080\n");
  }
}

TEST_CASE("service_target: nobody gets an address by writing it down",
          "[service_target]") {
  Cluster cluster = WithPod();
  Service claim = ServiceOf("evil", "claim", {{"", kTcp, 80}}, {});
  EndpointSlice slice =
      SliceOf(claim, "claim-1", {{"", kTcp, 80}}, {Ready("192.168.1.20")});
  SelectPods(claim, slice);
  SECTION("in a slice that no controller has") { slice.meta.labels.clear(); }
  SECTION("behind a Service that no controller fills") {
    claim.has_selector = false;
  }
  SECTION("as what is no Pod of that namespace") {
    slice.endpoints[0].of_pod = false;
  }
  cluster.services.push_back(claim);
  cluster.slices.push_back(slice);
  FillHolders(cluster);
  CHECK(AskAddress(cluster, "192.168.1.20", 80).empty());
}

TEST_CASE("service_target: an endpoint written by hand is no way round it",
          "[service_target]") {
  Cluster cluster = WithPod();
  const Service mine = ServiceOf("default", "mine", {{"", kTcp, 80}}, {});
  cluster.services.push_back(mine);
  cluster.slices.push_back(
      SliceOf(mine, "mine-1", {{"", kTcp, 8080}}, {Ready("10.1.0.9")}));
  FillHolders(cluster);
  for (const bool via_cluster_ip : {false, true}) {
    const auto asked = ServiceTargets(cluster).Resolve(
        {"default", "mine", "80", via_cluster_ip}, User({443, 443}));
    CHECK(Shown(asked) == "TargetDenied");
    CHECK(MessageOf(asked).find(
              "Service default/mine: endpoint 10.1.0.9 of EndpointSlice mine-1 "
              "is of namespace \"shop\"") != std::string::npos);
  }
}

TEST_CASE("service_target: of the API servers' addresses the API is theirs",
          "[service_target]") {
  const Service api =
      ServiceOf("default", "kubernetes", {{"https", kTcp, 443}}, {"10.96.0.1"});
  Cluster cluster{.services = {api},
                  .slices = {SliceOf(api, "kubernetes", {{"https", kTcp, 6443}},
                                     {Ready("192.168.1.10")})}};
  FillHolders(cluster);
  const auto ask = [&cluster](const std::string& address, uint16_t port) {
    return AskAddress(cluster, address, port, "shop");
  };
  CHECK(ask("10.96.0.1", 443) == "TargetDenied");
  CHECK(ask("192.168.1.10", 6443) == "TargetDenied");
  CHECK(ask("192.168.1.10", 22).empty());
  CHECK(ServiceTargets(cluster)
            .JudgeAddress({Ip("192.168.1.10"), 6440},
                          User({5000, 5010}, kTcp, "shop"))
            ->reason == "TargetDenied");
}

}  // namespace
}  // namespace edged::agent
