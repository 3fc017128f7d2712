// A file in the folder of manifests: YAML to documents, fields, objects, and
// what each binding comes to.

#include "clusteragent/core/validate.h"
#include "clusteragent/source/manifest_dir.h"
#include "common/status.h"
#include "tests/fuzz/one_line.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

constexpr char kEdgeNode[] = R"(
apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata:
  name: fra1
  labels: {region: eu}
  creationTimestamp: "2024-06-01T12:00:00Z"
spec:
  address: 203.0.113.1
  publicIPs:
  - {address: 203.0.113.1}
  - {address: "2001:db8::1", interface: eth0, nicAddress: auto}
  tunnel: {listenPort: 51820, network: 10.200.0.0/22, mtu: auto,
           persistentKeepalive: 25}
  healthCheck: {interval: 250ms, unhealthyThreshold: 3}
  uplinkSelector: {matchLabels: {site: home}}
  allowedNamespaces: [default]
)";

constexpr char kPortBinding[] = R"(
apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata: {name: web, namespace: default, annotations: {edged.dev/note: "x"}}
spec:
  edgeNodeSelector: {matchLabels: {region: eu}}
  bindings:
  - name: https
    protocol: TCP
    listenPort: 443
    target: {service: {name: web, namespace: shop, port: https}}
    clientIP: Preserve
    tcp: {proxyProtocol: v2, connectTimeout: 5s, idleTimeout: 1h}
    tls: {mode: Passthrough}
    access: {allowCIDRs: [192.0.2.0/24], denyCIDRs: [192.0.2.7/32]}
  - {name: games, protocol: UDP, listenPort: 0x1388, endPort: 5999,
     publicIP: "*", target: {address: 10.0.0.7}, udp: {sessionTimeout: 2m}}
)";

constexpr char kJson[] =
    R"({"apiVersion": "edged.dev/v1alpha1", "kind": "PortBinding",
"metadata": {"name": "web", "namespace": "default"},
"spec": {"edgeNodeRef": {"name": "fra1"}, "bindings": [
{"name": "a", "protocol": "TCP", "listenPort": 80,
"target": {"address": "10.0.0.7", "port": 8080}}]}})";

void TryObject(const agent::Object& object) {
  Require(!agent::MetaOf(object).name.empty(), "an object has a name");
  Require(!agent::KeyOf(object).ToString().empty(), "an object has a key");
  const auto* binding = std::get_if<agent::PortBinding>(&object);
  if (!binding) return;
  const agent::JudgedObject judged = agent::Judge(*binding);
  if (judged.refused) {
    RequireOneLine(judged.refused->message);
    return;
  }
  Require(judged.bindings.size() == binding->bindings.size(),
          "every binding is judged");
  for (const agent::JudgedBinding& one : judged.bindings) {
    if (one.refused()) RequireOneLine(one.refused()->message);
  }
}

}  // namespace

bool Try(Input input) {
  const auto objects = agent::ReadManifest(AsText(input), "fuzz.yaml");
  if (!objects.ok()) {
    RequireOneLine(Message(objects.status()));
    return false;
  }
  for (const auto& found : *objects) TryObject(found.object);
  return !objects->empty();
}

std::vector<std::string> Seeds() {
  return {kEdgeNode, kPortBinding, kJson,
          std::string("---") + kEdgeNode + "---" + kPortBinding + "...\n"};
}

}  // namespace edged::fuzz
