#include "clusteragent/kube/cluster_json.h"

#include <sodium.h>

#include <utility>

#include "absl/time/time.h"
#include "clusteragent/core/service_target.h"
#include "clusteragent/kube/json_reading.h"

namespace edged::kube {
namespace {

using nlohmann::json;

constexpr char kNone[] = "None";
constexpr int64_t kLastPort = 65535;

agent::Labels ReadLabels(const json& value) {
  agent::Labels labels;
  if (!value.is_object()) return labels;
  for (const auto& [name, text] : value.items()) {
    if (text.is_string()) labels[name] = text.get<std::string>();
  }
  return labels;
}

// Absent means TCP.
std::optional<Protocol> ReadProtocol(const json& port) {
  const std::string name = Text(Field(port, "protocol"), "TCP");
  if (name == "TCP") return Protocol::kTcp;
  if (name == "UDP") return Protocol::kUdp;
  return std::nullopt;
}

// A ServicePort or a SlicePort.
template <typename Port>
std::vector<Port> ReadPorts(const json& ports) {
  std::vector<Port> read;
  for (const json& port : Items(ports)) {
    const auto protocol = ReadProtocol(port);
    const int64_t number = Number(Field(port, "port"), 0);
    if (!protocol || number < 1 || number > kLastPort) continue;
    read.push_back({.name = Text(Field(port, "name")),
                    .protocol = *protocol,
                    .port = static_cast<uint16_t>(number)});
  }
  return read;
}

void AddClusterIp(const json& value, agent::Service& service) {
  const std::string text = Text(value);
  if (text == kNone) service.headless = true;
  const auto address = IpAddress::Parse(text);
  if (!address.ok()) return;
  for (const IpAddress& known : service.cluster_ips) {
    if (known.family() == address->family()) return;
  }
  service.cluster_ips.push_back(*address);
}

bool IsPodOf(const std::string& name_space, const json& target) {
  return Text(Field(target, "kind")) == "Pod" &&
         Text(Field(target, "namespace"), name_space) == name_space;
}

// Whether the load balancer's part of the status is ours, as the API server
// remembers it.
bool WroteLoadBalancerStatus(const json& object) {
  for (const json& entry : Items(Field(object, "metadata", "managedFields"))) {
    if (Text(Field(entry, "manager")) != kFieldManager) continue;
    const json& status = Field(entry, "fieldsV1", "f:status");
    if (!Field(status, "f:loadBalancer").is_null()) return true;
  }
  return false;
}

}  // namespace

std::optional<agent::ObjectMeta> ReadMeta(const json& object) {
  const json& from = Field(object, "metadata");
  agent::ObjectMeta meta{.name_space = Text(Field(from, "namespace")),
                         .name = Text(Field(from, "name")),
                         .uid = Text(Field(from, "uid")),
                         .generation = Number(Field(from, "generation"), 0),
                         .labels = ReadLabels(Field(from, "labels")),
                         .annotations = ReadLabels(Field(from, "annotations"))};
  if (meta.name.empty()) return std::nullopt;
  meta.deleting = !Text(Field(from, "deletionTimestamp")).empty();
  absl::Time created;
  std::string ignored;
  if (absl::ParseTime(absl::RFC3339_full,
                      Text(Field(from, "creationTimestamp")), &created,
                      &ignored)) {
    meta.created = std::chrono::sys_seconds(
        std::chrono::seconds(absl::ToUnixSeconds(created)));
  }
  return meta;
}

std::optional<agent::Service> ReadService(const json& object) {
  auto meta = ReadMeta(object);
  if (!meta) return std::nullopt;
  const json& spec = Field(object, "spec");
  agent::Service service{
      .meta = *std::move(meta),
      .type = Text(Field(spec, "type"), "ClusterIP"),
      .ports = ReadPorts<agent::ServicePort>(Field(spec, "ports")),
      .has_selector = !ReadLabels(Field(spec, "selector")).empty(),
      .client_ip_affinity = Text(Field(spec, "sessionAffinity")) == "ClientIP",
      .keeps_client_ip = Text(Field(spec, "externalTrafficPolicy")) == "Local",
      .load_balancer_class = Text(Field(spec, "loadBalancerClass"))};
  for (const json& range : Items(Field(spec, "loadBalancerSourceRanges"))) {
    // One that is no text stays, so that it is refused.
    service.source_ranges.push_back(range.is_string() ? Text(range)
                                                      : range.dump());
  }
  AddClusterIp(Field(spec, "clusterIP"), service);
  const json& ingress = Field(object, "status", "loadBalancer", "ingress");
  for (const json& item : Items(ingress)) {
    const auto address = IpAddress::Parse(Text(Field(item, "ip")));
    if (address.ok()) service.load_balancer_ips.push_back(*address);
  }
  service.status_is_others =
      !Items(ingress).empty() && !WroteLoadBalancerStatus(object);
  for (const json& ip : Items(Field(spec, "clusterIPs"))) {
    AddClusterIp(ip, service);
  }
  return service;
}

std::optional<agent::EndpointSlice> ReadEndpointSlice(const json& object) {
  auto meta = ReadMeta(object);
  if (!meta) return std::nullopt;
  agent::EndpointSlice slice{
      .meta = *std::move(meta),
      .ports = ReadPorts<agent::SlicePort>(Field(object, "ports"))};
  const auto label = slice.meta.labels.find(agent::kServiceNameLabel);
  if (label != slice.meta.labels.end()) slice.service = label->second;
  for (const json& from : Items(Field(object, "endpoints"))) {
    const json& addresses = Items(Field(from, "addresses"));
    if (addresses.empty()) continue;
    const auto address = IpAddress::Parse(Text(addresses.front()));
    if (!address.ok()) continue;  // also an FQDN slice
    const json& conditions = Field(from, "conditions");
    const bool ready = Truth(Field(conditions, "ready"), true);
    slice.endpoints.push_back(
        {.address = *address,
         .ready = ready,
         .serving = Truth(Field(conditions, "serving"), ready),
         .terminating = Truth(Field(conditions, "terminating"), false),
         .node = Text(Field(from, "nodeName")),
         .of_pod = IsPodOf(slice.meta.name_space, Field(from, "targetRef"))});
  }
  return slice;
}

std::optional<agent::Namespace> ReadNamespace(const json& object) {
  auto meta = ReadMeta(object);
  if (!meta) return std::nullopt;
  return agent::Namespace{.meta = *std::move(meta)};
}

std::optional<agent::ReferenceGrant> ReadReferenceGrant(const json& object) {
  auto meta = ReadMeta(object);
  if (!meta) return std::nullopt;
  agent::ReferenceGrant grant{.meta = *std::move(meta)};
  const json& spec = Field(object, "spec");
  for (const json& from : Items(Field(spec, "from"))) {
    grant.from.push_back({.group = Text(Field(from, "group")),
                          .kind = Text(Field(from, "kind")),
                          .name_space = Text(Field(from, "namespace"))});
  }
  for (const json& to : Items(Field(spec, "to"))) {
    // A name that cannot be read must not mean all of them.
    const json& name = Field(to, "name");
    if (!name.is_null() && !name.is_string()) continue;
    grant.to.push_back({.group = Text(Field(to, "group")),
                        .kind = Text(Field(to, "kind")),
                        .name = Text(name)});
  }
  return grant;
}

std::optional<SecretObject> ReadSecret(const json& object) {
  auto meta = ReadMeta(object);
  if (!meta) return std::nullopt;
  SecretObject secret{.meta = *std::move(meta),
                      .type = Text(Field(object, "type"))};
  const json& data = Field(object, "data");
  if (!data.is_object()) return secret;
  for (const auto& [name, value] : data.items()) {
    const auto* text = value.get_ptr<const std::string*>();
    if (text == nullptr) continue;
    std::string bytes(text->size(), '\0');
    size_t size = 0;
    const bool decoded =
        sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()),
                          bytes.size(), text->data(), text->size(), nullptr,
                          &size, nullptr, sodium_base64_VARIANT_ORIGINAL) == 0;
    if (decoded) {
      secret.data[name] = Secret(std::string_view(bytes).substr(0, size));
    }
    sodium_memzero(bytes.data(), bytes.size());
  }
  return secret;
}

}  // namespace edged::kube
