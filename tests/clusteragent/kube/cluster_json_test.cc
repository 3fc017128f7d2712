#include "clusteragent/kube/cluster_json.h"

#include <catch2/catch.hpp>

#include "clusteragent/kube/json_reading.h"

namespace edged::kube {
namespace {

TEST_CASE("cluster_json: a Service", "[cluster_json]") {
  const auto service = ReadService(ParseJson(R"({"kind": "Service",
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1",
      "creationTimestamp": "2024-06-01T12:00:00Z", "managedFields": [{}],
      "annotations": {"edged.dev/expose": "true"}},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.10",
      "clusterIPs": ["10.96.0.10", "fd00::10"], "sessionAffinity": "ClientIP",
      "loadBalancerClass": "edged.dev/edge", "selector": {"app": "web"},
      "loadBalancerSourceRanges": ["192.0.2.0/24 ", 7],
      "externalTrafficPolicy": "Local",
      "ports": [{"name": "http", "port": 80, "targetPort": "web"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "sctp", "port": 9, "protocol": "SCTP"}]},
    "status": {"loadBalancer": {}}})"));
  REQUIRE(service);
  CHECK(service->meta.name_space == "shop");
  CHECK(service->meta.created->time_since_epoch().count() == 1717243200);
  CHECK(service->meta.annotations.at("edged.dev/expose") == "true");
  CHECK(service->type == "LoadBalancer");
  CHECK_FALSE(service->headless);
  CHECK(service->cluster_ips.size() == 2);
  CHECK(service->has_selector);
  CHECK(service->client_ip_affinity);
  CHECK(service->keeps_client_ip);
  CHECK(service->load_balancer_class == "edged.dev/edge");
  CHECK(service->source_ranges ==
        std::vector<std::string>{"192.0.2.0/24 ", "7"});
  CHECK(service->ports ==
        std::vector<agent::ServicePort>{{"http", Protocol::kTcp, 80},
                                        {"dns", Protocol::kUdp, 53}});

  CHECK(
      ReadService(
          ParseJson(
              R"({"metadata": {"name": "a"}, "spec": {"clusterIP": "None"}})"))
          ->headless);
  CHECK_FALSE(
      ReadService(ParseJson(R"({"metadata": {"name": "a"}, "spec": {}})"))
          ->has_selector);
}

TEST_CASE("cluster_json: conditions of an endpoint that are not said",
          "[cluster_json]") {
  const auto slice = ReadEndpointSlice(ParseJson(R"({
    "metadata": {"name": "web-x", "namespace": "shop",
      "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"name": "", "port": 8080, "protocol": "TCP"}, {"port": null}],
    "endpoints": [
      {"addresses": ["10.1.0.1"],
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": "w"}},
      {"addresses": ["10.1.0.2"], "conditions": {"ready": false},
        "targetRef": {"kind": "Pod", "namespace": "other", "name": "w"}},
      {"addresses": ["10.1.0.3"], "targetRef": {"kind": "Node"}, "nodeName": "n1", "conditions":
        {"ready": false, "serving": true, "terminating": true}},
      {"addresses": ["web.example"]}, {"addresses": []}, {}, 7]})"));
  REQUIRE(slice);
  CHECK(slice->service == "web");
  CHECK(slice->ports.size() == 1);
  REQUIRE(slice->endpoints.size() == 3);
  CHECK(slice->endpoints[0].ready);
  CHECK(slice->endpoints[0].serving);
  CHECK_FALSE(slice->endpoints[1].serving);
  CHECK(slice->endpoints[2].terminating);
  CHECK(slice->endpoints[2].node == "n1");
  CHECK(slice->endpoints[0].of_pod);
  CHECK_FALSE(slice->endpoints[1].of_pod);
  CHECK_FALSE(slice->endpoints[2].of_pod);
}

TEST_CASE("cluster_json: namespaces, grants and secrets", "[cluster_json]") {
  CHECK(ReadNamespace(ParseJson(R"({"metadata": {"name": "shop",
          "labels": {"edged.dev/allow-port-bindings": "true"}}})"))
            ->meta.labels.size() == 1);
  const auto grant = ReadReferenceGrant(ParseJson(R"({
    "metadata": {"name": "g", "namespace": "shop"},
    "spec": {"from": [{"group": "edged.dev", "kind": "PortBinding",
                       "namespace": "default"}],
             "to": [{"group": "", "kind": "Service"},
                    {"group": "", "kind": "Service", "name": 7}]}})"));
  CHECK(grant->from[0].name_space == "default");
  CHECK(grant->to ==
        std::vector<agent::ReferenceGrant::To>{{"", "Service", ""}});
  const auto secret = ReadSecret(ParseJson(R"({
    "metadata": {"name": "tls"}, "type": "kubernetes.io/tls",
    "data": {"tls.key": "a2V5", "bad": "%", "worse": 1, "empty": ""}})"));
  CHECK(secret->type == "kubernetes.io/tls");
  CHECK(secret->data.size() == 2);
  CHECK(secret->data.at("tls.key") == Secret("key"));
}

TEST_CASE("cluster_json: whatever the types are, nothing ends us",
          "[cluster_json]") {
  const char* fields[] = {"metadata", "spec", "endpoints", "ports", "data"};
  const char* values[] = {
      "null",   "7",      "-1e400", "\"x\"",          "[]",
      "[null]", "[[[]]]", "{}",     "{\"name\": {}}", "true"};
  for (const char* value : values) {
    std::string text = R"({"metadata": {"name": "a", "labels": )";
    text += value;
    text += "}";
    for (const char* field : fields) {
      if (std::string_view(field) == "metadata") continue;
      text += std::string(", \"") + field + "\": " + value;
    }
    text += "}";
    const auto json = ParseJson(text);
    ReadService(json);
    ReadEndpointSlice(json);
    ReadNamespace(json);
    ReadReferenceGrant(json);
    ReadSecret(json);
    CHECK_FALSE(ReadService(ParseJson(value)));
  }
}

}  // namespace
}  // namespace edged::kube
