#include "clusteragent/controller/status_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "clusteragent/kube/json_reading.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::ItemWith;
using kube::Text;
using nlohmann::json;

constexpr char kErrorPrefix[] = "edged.dev/";
constexpr size_t kLongestMessage = 32'768;  // the schema's
constexpr size_t kLongestColumn = 1'024;    // likewise
constexpr size_t kMostBindings = 128;       // likewise

json ConditionJson(const Condition& condition, int64_t generation,
                   const json& before, const std::string& now) {
  const std::string status(ToString(condition.status));
  std::string since = now;
  if (Text(Field(before, "status")) == status) {
    since = Text(Field(before, "lastTransitionTime"), now);
  }
  return {{"type", condition.type},
          {"status", status},
          {"reason", condition.reason},
          {"message", condition.message.substr(0, kLongestMessage)},
          {"observedGeneration", generation},
          {"lastTransitionTime", since}};
}

json ConditionsJson(const std::vector<Condition>& conditions,
                    int64_t generation, const json& before,
                    const std::string& now) {
  json list = json::array();
  for (const Condition& condition : conditions) {
    list.push_back(ConditionJson(
        condition, generation, ItemWith(before, "type", condition.type), now));
  }
  return list;
}

template <typename Texts>
std::string Column(const Texts& texts) {
  std::string column = fmt::format("{}", fmt::join(texts, ","));
  if (column.size() > kLongestColumn) {
    column.resize(kLongestColumn - 3);
    column += "...";
  }
  return column;
}

std::string TargetText(const Target& target) {
  if (target.service) {
    return target.service->name_space.empty()
               ? fmt::format("{}:{}", target.service->name,
                             target.service->port)
               : fmt::format("{}/{}:{}", target.service->name_space,
                             target.service->name, target.service->port);
  }
  if (!target.address) return "";
  return target.port ? fmt::format("{}:{}", *target.address, *target.port)
                     : *target.address;
}

// The columns of `kubectl get`.
json SummaryJson(const PlannedObject* planned, const PortBinding* object) {
  std::set<std::string> addresses;
  if (planned != nullptr) {
    for (const PlannedBinding& binding : planned->bindings) {
      for (const Placement& placement : binding.placements) {
        addresses.insert(placement.listener.public_address.ToString());
      }
    }
  }
  std::vector<std::string> ports;
  std::vector<std::string> targets;
  if (object != nullptr) {
    for (const Binding& binding : object->bindings) {
      std::string port = fmt::format("{}", binding.listen_port.value_or(0));
      if (binding.end_port) port += fmt::format("-{}", *binding.end_port);
      ports.push_back(fmt::format("{}/{}", port, binding.protocol));
      targets.push_back(TargetText(binding.target));
    }
  }
  return {{"addresses", Column(addresses)},
          {"ports", Column(ports)},
          {"targets", Column(targets)}};
}

std::vector<IpAddress> AddressesOf(const PlannedObject& planned) {
  std::vector<IpAddress> addresses;
  for (const PlannedBinding& binding : planned.bindings) {
    for (const Placement& placement : binding.placements) {
      const IpAddress& address = placement.listener.public_address;
      if (std::ranges::find(addresses, address) == addresses.end()) {
        addresses.push_back(address);
      }
    }
  }
  return addresses;
}

}  // namespace

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

json MergeDiff(const json& from, const json& to) {
  if (!from.is_object() || !to.is_object()) return to;
  json patch = json::object();
  for (const auto& [name, value] : to.items()) {
    const json& before = Field(from, name);
    if (before == value) continue;
    patch[name] = before.is_object() && value.is_object()
                      ? MergeDiff(before, value)
                      : value;
  }
  for (const auto& [name, value] : from.items()) {
    if (!to.contains(name)) patch[name] = nullptr;
  }
  return patch;
}

json EdgeNodeStatusJson(const ObjectStatus& status, const EdgePlan* plan,
                        const EdgeMemory& memory, const json& before,
                        const std::string& now) {
  json result = MemoryJson(memory);
  result["observedGeneration"] = status.observed_generation;
  result["conditions"] =
      ConditionsJson(status.conditions, status.observed_generation,
                     Field(before, "conditions"), now);
  for (const char* name : {"address", "network", "network6", "mtu", "edgeMtu",
                           "uplinkMtu", "edgedVersion"}) {
    const auto value = status.values.find(name);
    if (value != status.values.end()) result[name] = value->second;
  }
  if (plan == nullptr) return result;
  result["listenPort"] = plan->listen_port;
  result["persistentKeepalive"] = plan->keepalive_seconds;
  result["uplinks"] = plan->wanted.uplinks.size();
  result["mappings"] = plan->wanted.mappings.size();
  json& ips = result["publicIPs"] = json::array();
  for (const auto& ip : plan->wanted.settings.public_addresses) {
    ips.push_back({{"address", ip.address.ToString()}, {"index", ip.index}});
  }
  return result;
}

json PortBindingStatusJson(const ObjectStatus& status,
                           const PlannedObject* planned,
                           const PortBinding* object, const json& before,
                           const std::string& now) {
  json result = {{"observedGeneration", status.observed_generation},
                 {"conditions",
                  ConditionsJson(status.conditions, status.observed_generation,
                                 Field(before, "conditions"), now)},
                 {"summary", SummaryJson(planned, object)}};
  json& bindings = result["bindings"] = json::array();
  std::set<std::string> names;  // the schema's key
  for (const BindingStatus& binding : status.bindings) {
    if (bindings.size() == kMostBindings) break;
    if (!names.insert(binding.name).second) continue;
    const json& was = ItemWith(Field(before, "bindings"), "name", binding.name);
    bindings.push_back(
        {{"name", binding.name},
         {"listeners", binding.listeners},
         {"conditions",
          ConditionsJson({binding.ready}, status.observed_generation,
                         Field(was, "conditions"), now)}});
  }
  return result;
}

json LoadBalancerJson(const PlannedObject& planned,
                      const ObjectStatus& status) {
  json ingress = json::array();
  for (const IpAddress& address : AddressesOf(planned)) {
    json ports = json::array();
    for (size_t i = 0; i < planned.bindings.size(); ++i) {
      for (const Placement& placement : planned.bindings[i].placements) {
        const protocol::Listener& listener = placement.listener;
        if (listener.public_address != address) continue;
        json port = {
            {"port", listener.ports.first},
            {"protocol", listener.protocol == Protocol::kTcp ? "TCP" : "UDP"}};
        const Condition& ready = status.bindings[i].ready;
        if (ready.status != ConditionStatus::kTrue) {
          port["error"] = kErrorPrefix + ready.reason;
        }
        if (std::ranges::find(ports, port) == ports.end()) {
          ports.push_back(std::move(port));
        }
      }
    }
    ingress.push_back({{"ip", address.ToString()},
                       {"ipMode", "VIP"},
                       {"ports", std::move(ports)}});
  }
  json result = json::object();
  if (!ingress.empty()) result["ingress"] = std::move(ingress);
  return result;
}

std::string AddressesText(const PlannedObject& planned) {
  std::vector<std::string> texts;
  for (const IpAddress& address : AddressesOf(planned)) {
    texts.push_back(address.ToString());
  }
  return fmt::format("{}", fmt::join(texts, ","));
}

json UplinkStatusJson(const std::map<std::string, PublicKey>& keys,
                      const UplinkStatus& status, int64_t generation,
                      const json& before, const std::string& now) {
  // What stands there is of the process before, and true again soon.
  const bool starts = status.ready.status == ConditionStatus::kUnknown;
  json edges = json::array();
  for (const auto& [name, key] : keys) {
    json& edge = edges.emplace_back(
        json{{"edgeNode", name}, {"publicKey", key.ToString()}});
    const auto planned = status.edges.find(name);
    if (planned == status.edges.end()) continue;
    if (!planned->second.uid.empty()) edge["uid"] = planned->second.uid;
    if (planned->second.block != 0) edge["block"] = planned->second.block;
    const std::string trouble =
        starts ? Text(Field(ItemWith(Field(before, "edges"), "edgeNode", name),
                            "trouble"))
               : planned->second.trouble.substr(0, kLongestColumn);
    if (!trouble.empty()) edge["trouble"] = trouble;
  }
  json result = {{"observedGeneration", generation},
                 {"edges", std::move(edges)}};
  for (const IpAddress& address : status.addresses) {
    result["addresses"].push_back(address.ToString());
  }
  if (starts) {
    for (const char* field : {"conditions", "summary"}) {
      const json& was = Field(before, field);
      if (!was.is_null()) result[field] = was;
    }
    return result;
  }
  result["conditions"] = ConditionsJson({status.ready}, generation,
                                        Field(before, "conditions"), now);
  result["summary"] = {
      {"tunnels", fmt::format("{}/{}", status.carrying, status.joined)}};
  return result;
}

}  // namespace edged::agent
