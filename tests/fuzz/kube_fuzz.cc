// What an API server sends, and the file that says where it is: kubeconfig,
// the lines of a watch, the objects and errors in them.

#include "clusteragent/core/service_target.h"
#include "clusteragent/kube/api_error.h"
#include "clusteragent/kube/client_config.h"
#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/json_reading.h"
#include "clusteragent/kube/watch_stream.h"
#include "common/status.h"
#include "tests/fuzz/one_line.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

constexpr char kKubeconfig[] = R"(
apiVersion: v1
current-context: home
contexts:
- {name: home, context: {cluster: home, user: agent, namespace: edged}}
clusters:
- name: home
  cluster: {server: "https://10.0.0.1:6443/", certificate-authority-data: Q0EK,
            tls-server-name: kubernetes}
users:
- name: agent
  user: {client-certificate-data: Q0EK, client-key-data: S0VZ, token: x}
)";

constexpr char kEvents[] =
    R"({"type":"ADDED","object":{"kind":"Service","metadata":{"name":"web","namespace":"a","resourceVersion":"12","creationTimestamp":"2024-06-01T12:00:00Z","labels":{"a":"b"}},"spec":{"type":"ClusterIP","clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"],"sessionAffinity":"ClientIP","ports":[{"name":"http","port":80,"protocol":"TCP"}]}}}
{"type":"MODIFIED","object":{"metadata":{"name":"web-1","namespace":"a","labels":{"kubernetes.io/service-name":"web"}},"ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true,"terminating":false}}]}}
{"type":"DELETED","object":{"metadata":{"name":"g","namespace":"a"},"spec":{"from":[{"group":"edged.dev","kind":"PortBinding","namespace":"b"}],"to":[{"group":"","kind":"Service"}]},"data":{"tls.key":"a2V5"}}}
{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"15"}}}
{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old","details":{"retryAfterSeconds":3}}}
)";

// Each object as every kind, and a target looked up in what came of them.
void TryObject(const nlohmann::json& object, agent::Cluster& cluster) {
  if (auto service = kube::ReadService(object)) {
    cluster.services.push_back(*service);
  }
  if (auto slice = kube::ReadEndpointSlice(object)) {
    cluster.slices.push_back(*slice);
  }
  if (auto grant = kube::ReadReferenceGrant(object)) {
    cluster.grants.push_back(*grant);
  }
  if (auto name_space = kube::ReadNamespace(object)) {
    cluster.namespaces.push_back(*name_space);
  }
  kube::ReadSecret(object);
  RequireOneLine(Message(kube::ErrorOf(object, "watch")));
}

bool TryEvents(Input input) {
  agent::Cluster cluster;
  kube::LineReader lines(1 << 16);
  const auto take = [&cluster](std::string_view line) -> absl::Status {
    const auto event = kube::ParseWatchEvent(line);
    RETURN_IF_ERROR(event.status());
    TryObject(event->object, cluster);
    return absl::OkStatus();
  };
  const std::string_view text = AsText(input);
  const size_t half = text.size() / 2;
  absl::Status status = lines.Feed(text.substr(0, half), take);
  if (status.ok()) status = lines.Feed(text.substr(half), take);
  if (!status.ok()) RequireOneLine(Message(status));
  const auto target = agent::ServiceTargets(cluster).Resolve(
      {"a", "web", "http", false}, {"b", Protocol::kTcp, {80, 80}, "x"});
  if (const auto* refusal = std::get_if<agent::Refusal>(&target)) {
    Require(!refusal->message.empty(), "a refusal says why");
  }
  return status.ok() && text.ends_with('\n');
}

}  // namespace

bool Try(Input input) {
  const auto config = kube::ParseKubeconfig(AsText(input), "config", "");
  if (!config.ok()) RequireOneLine(Message(config.status()));
  const bool events = TryEvents(input);
  return config.ok() || events;
}

std::vector<std::string> Seeds() { return {kKubeconfig, kEvents}; }

}  // namespace edged::fuzz
