#include "clusteragent/source/object_json.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "clusteragent/core/validate.h"
#include "clusteragent/source/manifest_dir.h"
#include "common/status.h"

namespace edged::agent {
namespace {

absl::StatusOr<Object> ReadOne(const std::string& text) {
  auto objects = ReadManifest(text, "o.yaml");
  if (!objects.ok()) return objects.status();
  REQUIRE(objects->size() == 1);
  return (*objects)[0].object;
}

EdgeNode ReadEdge(const std::string& spec) {
  const auto object = ReadOne(R"(apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata: {name: vps}
spec:
)" + spec);
  INFO(object.status().ToString());
  REQUIRE(object.ok());
  return std::get<EdgeNode>(*object);
}

std::string EdgeError(const std::string& spec) {
  const auto object = ReadOne(R"(apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata: {name: vps}
spec:
  address: 203.0.113.1
)" + spec);
  return object.ok() ? "OK" : std::string(Message(object.status()));
}

PortBinding ReadBindings(const std::string& bindings) {
  const auto object = ReadOne(R"(apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata: {name: web}
spec:
  edgeNodeRef: {name: vps}
  bindings:
)" + bindings);
  INFO(object.status().ToString());
  REQUIRE(object.ok());
  return std::get<PortBinding>(*object);
}

std::string BindingError(const std::string& binding) {
  const auto object = ReadOne(R"(apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata: {name: web}
spec:
  edgeNodeRef: {name: vps}
  bindings:
)" + binding);
  return object.ok() ? "OK" : std::string(Message(object.status()));
}

TEST_CASE("object_json: an EdgeNode with everything", "[object_json]") {
  const auto object = ReadOne(R"(apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata:
  name: vps
  uid: 5e6c
  generation: 4
  creationTimestamp: 2026-01-31T12:00:00Z
  resourceVersion: "77"
  labels: {region: eu}
  annotations: {edged.dev/note: "x"}
spec:
  address: vps.example.com
  publicIPs:
  - address: 203.0.113.1
  - {address: 203.0.113.2, interface: eth1, nicAddress: 10.0.2.15}
  - {address: 203.0.113.3, nicAddress: auto}
  tunnel: {listenPort: 51821, network: 10.9.0.0/22, mtu: 1280, persistentKeepalive: 0}
  healthCheck: {interval: 1s, unhealthyThreshold: 5}
  uplinkSelector: {matchLabels: {zone: a}}
  allowedNamespaces: [default, web]
status: {anything: goes}
)");
  INFO(object.status().ToString());
  REQUIRE(object.ok());
  const auto& node = std::get<EdgeNode>(*object);
  CHECK(
      node ==
      EdgeNode{
          .meta = {.name = "vps",
                   .uid = "5e6c",
                   .created = std::chrono::sys_seconds(
                       std::chrono::seconds(1769860800)),
                   .generation = 4,
                   .labels = {{"region", "eu"}},
                   .annotations = {{"edged.dev/note", "x"}}},
          .address = "vps.example.com",
          .public_ips = {{.address = IpAddress::Parse("203.0.113.1").value()},
                         {.address = IpAddress::Parse("203.0.113.2").value(),
                          .interface = "eth1",
                          .nic_address = IpAddress::Parse("10.0.2.15").value()},
                         {.address = IpAddress::Parse("203.0.113.3").value()}},
          .tunnel = {.listen_port = 51821,
                     .network = IpPrefix::Parse("10.9.0.0/22").value(),
                     .mtu = 1280,
                     .persistent_keepalive = 0},
          .health_check = {.interval = std::chrono::seconds(1),
                           .unhealthy_threshold = 5},
          .uplink_selector = {{{"zone", "a"}}},
          .allowed_namespaces = {"default", "web"}});
}

TEST_CASE("object_json: an EdgeNode needs an address, the rest has defaults",
          "[object_json]") {
  const EdgeNode node = ReadEdge("  address: 203.0.113.1\n");
  CHECK(node == EdgeNode{.meta = {.name = "vps"}, .address = "203.0.113.1"});
  CHECK(node.tunnel.listen_port == 51820);
  CHECK(node.tunnel.persistent_keepalive == 25);
  CHECK(node.tunnel.mtu == 0);
  CHECK(node.PublicIps().size() == 1);
  CHECK(ReadEdge("  address: 203.0.113.1\n  tunnel: {mtu: auto}\n") == node);
}

TEST_CASE("object_json: what an EdgeNode says wrong is refused with its field",
          "[object_json]") {
  const auto starts = [](const std::string& spec, const std::string& error) {
    const std::string got = EdgeError(spec);
    CAPTURE(got, error);
    CHECK(got.starts_with(error));
  };
  starts("  tunnel: {listenPort: 0}\n", "o.yaml:6: spec.tunnel.listenPort: 0 ");
  starts("  tunnel: {listenPort: 70000}\n",
         "o.yaml:6: spec.tunnel.listenPort: 70000 ");
  starts("  tunnel: {mtu: -1}\n", "o.yaml:6: spec.tunnel.mtu: -1 ");
  starts("  tunnel: {mtu: big}\n",
         "o.yaml:6: spec.tunnel.mtu: \"big\" is neither \"auto\" nor a number");
  starts("  tunnel: {persistentKeepalive: -1}\n",
         "o.yaml:6: spec.tunnel.persistentKeepalive: -1 ");
  for (const std::string wrong :
       {"not-a-cidr", "10.0.0.0/26", "10.0.0.0/31", "10.0.0.1/22", "10.0.0.0",
        "10.0.0.0/15", "fd00::/64"}) {
    starts(fmt::format("  tunnel: {{network: \"{}\"}}\n", wrong),
           "o.yaml:6: spec.tunnel.network: ");
  }
  for (const std::string good :
       {"10.4.0.0/18", "10.4.0.0/22", "10.4.0.0/24", "10.4.0.128/25"}) {
    CHECK(EdgeError(fmt::format("  tunnel: {{network: {}}}\n", good)) == "OK");
  }
  starts("  tunnel: {network: fd00::/64}\n",
         "o.yaml:6: spec.tunnel.network: fd00::/64 is not an IPv4 network; "
         "that is network6");
  starts("  tunnel: {network6: 10.4.0.0/22}\n",
         "o.yaml:6: spec.tunnel.network6: 10.4.0.0/22 is not an IPv6 network; "
         "that is network");
  for (const std::string wrong : {"fd00::/47", "fd00::/122", "fd00::1/64"}) {
    starts(fmt::format("  tunnel: {{network6: \"{}\"}}\n", wrong),
           "o.yaml:6: spec.tunnel.network6: ");
  }
  CHECK(EdgeError("  tunnel: {network6: \"fd00:ed::/64\"}\n") == "OK");
  for (const std::string wrong : {"fe80::1", "::ffff:203.0.113.1", "ff02::1"}) {
    starts(fmt::format("  publicIPs: [{{address: \"{}\"}}]\n", wrong),
           fmt::format("o.yaml:6: spec.publicIPs[0].address: \"{}\" is not "
                       "the IP address of a host",
                       wrong));
  }
  starts("  publicIPs: [{address: 203.0.113.0/24}]\n",
         "o.yaml:6: spec.publicIPs[0].address: \"203.0.113.0/24\" is not the "
         "IP address of a host");
  starts("  publicIPs: [{address: 203.0.113.1}, {address: 203.0.113.1}]\n",
         "o.yaml:6: spec.publicIPs[1].address: 203.0.113.1 is listed twice");
  starts("  publicIPs: [{address: 203.0.113.1, nicAddress: any}]\n",
         "o.yaml:6: spec.publicIPs[0].nicAddress: \"any\" is neither \"auto\" "
         "nor an IP address");
  starts("  publicIPs: [{address: 203.0.113.1, interface: a/b}]\n",
         "o.yaml:6: spec.publicIPs[0].interface: \"a/b\"");
  starts("  healthCheck: {interval: BOGUS}\n",
         "o.yaml:6: spec.healthCheck.interval: ");
  starts("  healthCheck: {interval: 10ms}\n",
         "o.yaml:6: spec.healthCheck.interval: 10ms is not between 50ms and "
         "1m");
  starts("  healthCheck: {unhealthyThreshold: 0}\n",
         "o.yaml:6: spec.healthCheck.unhealthyThreshold: 0 ");
  starts("  allowedNamespaces: [a.b]\n",
         "o.yaml:6: spec.allowedNamespaces: \"a.b\" is not a namespace");
  starts("  tunel: {}\n", "o.yaml:6: spec.tunel: ");
  starts("  tunnel: {port: 1}\n", "o.yaml:6: spec.tunnel.port: ");
  starts("  publicIPs: 203.0.113.1\n", "o.yaml:6: spec.publicIPs: ");
}

TEST_CASE("object_json: an EdgeNode is dialled at an address or a name",
          "[object_json]") {
  const auto with = [](const std::string& address) {
    const auto object = ReadOne(fmt::format(R"(apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata: {{name: vps}}
spec: {{address: "{}"}}
)",
                                            address));
    return object.ok() ? "OK" : std::string(Message(object.status()));
  };
  CHECK(with("203.0.113.1") == "OK");
  CHECK(with("2001:db8::1") == "OK");
  CHECK(with("VPS.example.com") == "OK");
  for (const std::string wrong :
       {"203.0.113", "300.1.1.1", "203.0.113.1:51820", "0.0.0.0", "224.0.0.1",
        "a b", "-x.com", "https://vps"}) {
    CHECK(with(wrong) ==
          fmt::format("o.yaml:4: spec.address: \"{}\" is neither "
                      "an IP address nor a host name",
                      wrong));
  }
  CHECK(with("").starts_with("o.yaml:4: spec.address: "));
}

TEST_CASE("object_json: a PortBinding stands as written", "[object_json]") {
  const PortBinding object = ReadBindings(R"(
  - name: https
    protocol: TCP
    listenPort: 443
    publicIP: 203.0.113.1
    target: {address: 10.0.0.5, port: 8443}
    clientIP: Preserve
    tcp: {proxyProtocol: v2, connectTimeout: 500ms, idleTimeout: BOGUS}
    tls: {mode: Offload, secretRef: {name: cert}}
    access: {allowCIDRs: [10.0.0.0/8], denyCIDRs: [nonsense]}
  - name: media
    protocol: UDP
    listenPort: 70000
    endPort: -3
    target: {service: {name: a.b.svc, namespace: x, port: http}}
    udp: {sessionTimeout: 30s}
  - target: {service: {name: web, port: 80}}
)");
  CHECK(object.meta.name_space == "default");
  CHECK(object.edge_node == "vps");
  REQUIRE(object.bindings.size() == 3);
  using std::chrono::milliseconds;
  CHECK(object.bindings[0] ==
        Binding{
            .name = "https",
            .protocol = "TCP",
            .listen_port = 443,
            .public_ip = "203.0.113.1",
            .target = {.address = "10.0.0.5", .port = 8443},
            .client_ip = "Preserve",
            .tcp = TcpOptions{.proxy_protocol = "v2",
                              .connect_timeout = {{"500ms", milliseconds(500)}},
                              .idle_timeout = {{"BOGUS", std::nullopt}}},
            .tls = TlsOptions{.mode = "Offload", .secret_ref = "cert"},
            .access = AccessOptions{.allow_cidrs = {"10.0.0.0/8"},
                                    .deny_cidrs = {"nonsense"}}});
  CHECK(object.bindings[1] ==
        Binding{.name = "media",
                .protocol = "UDP",
                .listen_port = 70000,
                .end_port = -3,
                .target = {.service = ServiceRef{"a.b.svc", "x", "http"}},
                .udp = UdpOptions{
                    .session_timeout = {{"30s", milliseconds(30000)}}}});
  CHECK(object.bindings[2] ==
        Binding{.target = {.service = ServiceRef{"web", "", "80"}}});
}

TEST_CASE("object_json: durations are exact or judged later", "[object_json]") {
  const auto judged = [](const std::string& duration) {
    const PortBinding object = ReadBindings(fmt::format(
        "  - {{name: a, protocol: UDP, listenPort: 53, target: {{address: "
        "10.0.0.5, port: 53}}, udp: {{sessionTimeout: \"{}\"}}}}\n",
        duration));
    const JudgedObject whole = Judge(object);
    const JudgedBinding& binding = whole.bindings[0];
    if (binding.refused() != nullptr) return binding.refused()->reason;
    return fmt::format("{} s", binding.valid()->timeouts.udp_session.count());
  };
  CHECK(judged("1h") == "3600 s");
  CHECK(judged("15m") == "900 s");
  CHECK(judged("30s") == "30 s");
  CHECK(judged("1h30m") == "5400 s");
  for (const char* wrong : {"500ms", "BOGUS", "-1s", "0", "0s", "1.5s", ""}) {
    CHECK(judged(wrong) == "InvalidDuration");
  }
}

TEST_CASE("object_json: unknown fields and wrong types are refused",
          "[object_json]") {
  const auto starts = [](const std::string& got, const std::string& error) {
    CAPTURE(got, error);
    CHECK(got.starts_with(error));
  };
  starts(BindingError("  - {name: a, portocol: TCP}\n"),
         "o.yaml:7: spec.bindings[0].portocol: ");
  starts(BindingError("  - {name: a, target: {adress: x}}\n"),
         "o.yaml:7: spec.bindings[0].target.adress: ");
  starts(BindingError("  - {name: a}\n  - {name: b, listenPort: \"443\"}\n"),
         "o.yaml:8: spec.bindings[1].listenPort: ");
  starts(BindingError("  - {name: a, listenPort: 443.5}\n"),
         "o.yaml:7: spec.bindings[0].listenPort: ");
  starts(BindingError("  - {name: a, tcp: {timeout: 1s}}\n"),
         "o.yaml:7: spec.bindings[0].tcp.timeout: ");
  starts(BindingError("  - {name: 1}\n"), "o.yaml:7: spec.bindings[0].name: ");
  starts(BindingError("  - web\n"), "o.yaml:7: spec.bindings[0]: ");
}

TEST_CASE("object_json: an object says what it is", "[object_json]") {
  const auto error = [](const std::string& text) {
    const auto object = ReadOne(text);
    return object.ok() ? "OK" : std::string(Message(object.status()));
  };
  const auto starts = [&](const std::string& text, const std::string& wanted) {
    const std::string got = error(text);
    CAPTURE(got, wanted);
    CHECK(got.starts_with(wanted));
  };
  starts("kind: EdgeNode\n", "o.yaml:1: apiVersion: ");
  starts("apiVersion: edged.dev/v2\nkind: EdgeNode\n",
         "o.yaml:1: apiVersion: \"edged.dev/v2\" is not edged.dev/v1alpha1");
  starts("apiVersion: edged.dev/v1alpha1\nkind: Edge\n",
         "o.yaml:2: kind: \"Edge\" is neither EdgeNode nor PortBinding");
  starts(
      "apiVersion: edged.dev/v1alpha1\nkind: EdgeNode\nspec: {address: a.b}\n",
      "o.yaml:1: metadata.name: ");
  const std::string head =
      "apiVersion: edged.dev/v1alpha1\nkind: PortBinding\nmetadata: ";
  starts(head + "{name: \"\"}\nspec: {}\n", "o.yaml:3: metadata.name: ");
  starts(head + "{name: ../x}\nspec: {}\n",
         "o.yaml:3: metadata.name: \"../x\" is not a name");
  starts(head + "{name: x, namespace: A}\nspec: {}\n",
         "o.yaml:3: metadata.namespace: \"A\" is not a namespace");
  starts(head + "{name: x, creationTimestamp: yesterday}\nspec: {}\n",
         "o.yaml:3: metadata.creationTimestamp: \"yesterday\" is not a time");
  starts(head + "{name: x, color: red}\nspec: {}\n",
         "o.yaml:3: metadata.color: ");
  starts(head + "{name: x}\n", "o.yaml:1: spec: ");
  starts(head + "{name: x}\nspec: {}\nextra: 1\n", "o.yaml:5: extra: ");
  CHECK(error(head + "{name: x}\nspec: {}\n") == "OK");
  starts(
      "apiVersion: edged.dev/v1alpha1\nkind: EdgeNode\nmetadata: {name: x, "
      "namespace: default}\nspec: {address: a.b}\n",
      "o.yaml:3: metadata.namespace: an EdgeNode has none");
}

}  // namespace
}  // namespace edged::agent
