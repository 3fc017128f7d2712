#include "clusteragent/source/state_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "clusteragent/source/memory_json.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr int kIndent = 2;

// Text that is not UTF-8 (an error of the system) is shown, not thrown.
std::string Dump(const json& value) {
  return value.dump(kIndent, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Records> ReadRecords(const json& value) {
  if (const int version = value.at("version"); version != kVersion) {
    return absl::DataLossError(
        fmt::format("records have version {}, not {}", version, kVersion));
  }
  Records records{.numbers = ReadPool(value.at("numbers"))};
  for (const auto& [name, edge] : value.at("edges").items()) {
    ASSIGN_OR_RETURN(records.edges[name], ReadRecord(edge));
  }
  return records;
}

json ConditionJson(const Condition& condition) {
  return {{"type", condition.type},
          {"status", ToString(condition.status)},
          {"reason", condition.reason},
          {"message", condition.message}};
}

Condition ReadCondition(const json& value) {
  const std::string status = value.at("status");
  return {value.at("type"),
          status == "True"    ? ConditionStatus::kTrue
          : status == "False" ? ConditionStatus::kFalse
                              : ConditionStatus::kUnknown,
          value.at("reason"), value.at("message")};
}

absl::StatusOr<ObjectStatus> ReadStatus(const json& value) {
  ObjectStatus status;
  status.object = {value.at("kind") == ToString(Kind::kEdgeNode)
                       ? Kind::kEdgeNode
                       : Kind::kPortBinding,
                   value.at("namespace"), value.at("name")};
  value.at("observedGeneration").get_to(status.observed_generation);
  for (const json& item : value.at("conditions")) {
    status.conditions.push_back(ReadCondition(item));
  }
  for (const json& item : value.at("bindings")) {
    status.bindings.push_back({item.at("name"), item.at("listeners"),
                               ReadCondition(item.at("condition"))});
  }
  value.at("values").get_to(status.values);
  return status;
}

// Calls `read` with the parsed text; whatever the JSON library throws at its
// mistakes is DataLoss.
template <typename T>
absl::StatusOr<T> Guarded(std::string_view text, std::string_view what,
                          absl::StatusOr<T> (*read)(const json&)) {
  try {
    absl::StatusOr<T> result = read(json::parse(text));
    if (result.ok()) return result;
    return absl::DataLossError(
        fmt::format("{}: {}", what, Message(result.status())));
  } catch (const json::exception& error) {
    return absl::DataLossError(fmt::format("{}: {}", what, error.what()));
  }
}

}  // namespace

std::string ToJson(const Records& records) {
  json edges = json::object();
  for (const auto& [name, record] : records.edges) {
    edges[name] = RecordJson(record);
  }
  const json value = {{"version", kVersion},
                      {"edges", std::move(edges)},
                      {"numbers", PoolJson(records.numbers)}};
  return Dump(value);
}

absl::StatusOr<Records> RecordsFromJson(std::string_view text) {
  return Guarded<Records>(text, "records", ReadRecords);
}

std::string ToJson(const ObjectStatus& status) {
  json conditions = json::array();
  for (const Condition& condition : status.conditions) {
    conditions.push_back(ConditionJson(condition));
  }
  json bindings = json::array();
  for (const BindingStatus& binding : status.bindings) {
    bindings.push_back({{"name", binding.name},
                        {"listeners", binding.listeners},
                        {"condition", ConditionJson(binding.ready)}});
  }
  const json value = {{"kind", ToString(status.object.kind)},
                      {"namespace", status.object.name_space},
                      {"name", status.object.name},
                      {"observedGeneration", status.observed_generation},
                      {"conditions", std::move(conditions)},
                      {"bindings", std::move(bindings)},
                      {"values", status.values}};
  return Dump(value);
}

absl::StatusOr<ObjectStatus> StatusFromJson(std::string_view text) {
  return Guarded<ObjectStatus>(text, "status", ReadStatus);
}

}  // namespace edged::agent
