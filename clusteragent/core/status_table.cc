#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "clusteragent/core/status_plan.h"
#include "common/table.h"

namespace edged::agent {
namespace {

std::string Word(const ObjectStatus& status, std::string_view type) {
  const Condition* condition = status.Find(type);
  return std::string(
      ToString(condition ? condition->status : ConditionStatus::kUnknown));
}

// Why a condition is not true, in one cell.
std::string Why(const Condition* condition) {
  if (condition == nullptr || condition->status == ConditionStatus::kTrue) {
    return "-";
  }
  return fmt::format("{}: {}", condition->reason, condition->message);
}

std::vector<std::string> EdgeRow(const ObjectStatus& status) {
  const auto network = status.values.find("network");
  return {status.object.name,
          network == status.values.end() ? "-" : network->second,
          Word(status, "Enrolled"),
          Word(status, "TunnelUp"),
          Word(status, "Programmed"),
          Word(status, "Ready"),
          Why(status.Find("Ready"))};
}

// A row for each binding; one for an object without any.
void AddBindingRows(const ObjectStatus& status, Table& table) {
  const std::string object =
      fmt::format("{}/{}", status.object.name_space, status.object.name);
  if (status.bindings.empty()) {
    table.Add(
        {object, "-", "-", Word(status, "Ready"), Why(status.Find("Ready"))});
  }
  for (const BindingStatus& binding : status.bindings) {
    table.Add({object, binding.name.empty() ? "-" : binding.name,
               binding.listeners.empty()
                   ? "-"
                   : fmt::format("{}", fmt::join(binding.listeners, ", ")),
               std::string(ToString(binding.ready.status)),
               Why(&binding.ready)});
  }
}

}  // namespace

std::string StatusTable(const std::vector<ObjectStatus>& statuses) {
  Table edges({"edgenode", "network", "enrolled", "tunnel", "programmed",
               "ready", "why"});
  Table bindings({"portbinding", "binding", "listeners", "ready", "why"});
  for (const ObjectStatus& status : statuses) {
    if (status.object.kind == Kind::kEdgeNode) {
      edges.Add(EdgeRow(status));
    } else {
      AddBindingRows(status, bindings);
    }
  }
  return edges.ToString() + "\n" + bindings.ToString();
}

}  // namespace edged::agent
