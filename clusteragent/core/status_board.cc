#include "clusteragent/core/status_board.h"

#include <utility>

namespace edged::agent {

void StatusBoard::NotePlan(const IslandPlanner::Difference& difference) {
  objects_.insert(difference.objects.begin(), difference.objects.end());
  for (const std::string& edge : difference.edges) {
    planned_edges_.insert(edge);
    objects_.insert({Kind::kEdgeNode, "", edge});
  }
}

std::optional<std::set<ObjectKey>> StatusBoard::Restate(
    const IslandPlanner& planner, const Invalid& invalid,
    const ReportOf& report_of) {
  const std::set<std::string> planned = std::exchange(planned_edges_, {});
  std::set<std::string> edges = std::exchange(edges_, {});
  edges.insert(planned.begin(), planned.end());
  std::set<ObjectKey> changed = std::exchange(objects_, {});
  std::set<ObjectKey> keys = changed;
  // Those that are invalid, and those that were.
  keys.merge(std::exchange(invalid_, {}));
  for (const auto& [key, why] : invalid) {
    keys.insert(key);
    invalid_.insert(key);
  }
  if (!std::exchange(begun_, true)) {
    Begin(planner.plan(), invalid, report_of);
    return std::nullopt;
  }
  for (const std::string& edge : edges) {
    const bool another = TakeReport(edge, report_of);
    if (another || planned.contains(edge)) {
      keys.merge(planner.ObjectsOf(edge));
    }
  }
  for (const ObjectKey& key : keys) {
    if (RestateObject(key, planner.plan(), invalid)) changed.insert(key);
  }
  return changed;
}

void StatusBoard::Begin(const Plan& plan, const Invalid& invalid,
                        const ReportOf& report_of) {
  for (const EdgePlan& edge : plan.edges) TakeReport(edge.edge, report_of);
  statuses_ = MakeStatus(plan, reports_);
  for (const auto& [key, why] : invalid) TellInvalid(key, why, statuses_);
}

// Whether it is another.
bool StatusBoard::TakeReport(const std::string& edge,
                             const ReportOf& report_of) {
  std::optional<EdgeReport> report = report_of(edge);
  if (!report) return reports_.erase(edge) > 0;
  const auto [held, is_new] = reports_.try_emplace(edge, *report);
  if (is_new) return true;
  return std::exchange(held->second, *report) != *report;
}

// Whether its status is another.
bool StatusBoard::RestateObject(const ObjectKey& key, const Plan& plan,
                                const Invalid& invalid) {
  std::optional<ObjectStatus> before;
  if (auto held = statuses_.extract(key)) before = std::move(held.mapped());
  if (auto status = MakeStatusOf(key, plan, reports_)) {
    statuses_.emplace(key, *std::move(status));
  }
  if (const auto why = invalid.find(key); why != invalid.end()) {
    TellInvalid(key, why->second, statuses_);
  }
  const auto now = statuses_.find(key);
  if (now == statuses_.end()) return before.has_value();
  return before != now->second;
}

}  // namespace edged::agent
