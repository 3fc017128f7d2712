#include "clusteragent/core/uplink_status.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "clusteragent/core/verdict.h"

namespace edged::agent {
namespace {

// Nothing: its traffic is carried.
std::optional<Refusal> Against(const EdgePlan& edge, const EdgeReport& report) {
  if (edge.own_block == 0) {
    return Refusal{"NoBlock",
                   fmt::format("EdgeNode {}: no block of its network for this "
                               "uplink yet",
                               edge.edge)};
  }
  if (report.tunnel_up) return std::nullopt;
  return Refusal{
      reason::kTunnelDown,
      fmt::format(
          "EdgeNode {}: the tunnel is down{}", edge.edge,
          report.trouble.empty() ? "" : "; last trouble: " + report.trouble)};
}

Condition Ready(const UplinkStatus& status,
                const std::optional<Refusal>& against,
                const std::string& file_trouble, const OwnUplink& own) {
  const auto no = [](std::string reason, std::string message) {
    return Condition{"Ready", ConditionStatus::kFalse, std::move(reason),
                     std::move(message)};
  };
  if (own.draining) return no("Draining", "it takes no new connections");
  if (!own.applied) {
    return no("NotApplied", own.trouble.empty()
                                ? "its host is not as planned yet"
                                : own.trouble);
  }
  if (status.joined == 0) return no("NoEdge", "no edge has joined yet");
  if (against) return no(against->reason, against->message);
  return {"Ready", ConditionStatus::kTrue, "Carrying", file_trouble};
}

}  // namespace

UplinkStatus MakeUplinkStatus(const Plan& plan, const EdgeReports& reports,
                              const OwnUplink& own) {
  UplinkStatus status;
  std::optional<Refusal> first;
  std::string file_trouble;
  for (const EdgePlan& edge : plan.edges) {
    UplinkStatus::Edge& told = status.edges[edge.edge];
    told = {.name = edge.edge, .uid = edge.uid, .block = edge.own_block};
    const auto found = reports.find(edge.edge);
    if (found == reports.end() || !found->second.enrolled) {
      told.trouble = "the edge has not joined yet";
      continue;
    }
    ++status.joined;
    if (file_trouble.empty()) file_trouble = found->second.file_trouble;
    auto against = Against(edge, found->second);
    if (!against) {
      ++status.carrying;
      continue;
    }
    told.trouble = against->message;
    if (!first) first = std::move(against);
  }
  status.ready = Ready(status, first, file_trouble, own);
  const bool ready = status.ready.status == ConditionStatus::kTrue;
  if (own.starting && !own.draining && !ready) {
    status.ready.status = ConditionStatus::kUnknown;
  }
  return status;
}

}  // namespace edged::agent
