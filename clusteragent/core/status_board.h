#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "clusteragent/core/island_planner.h"
#include "clusteragent/core/status_plan.h"

namespace edged::agent {

// What is said about every object, kept up by what may have changed it. Pure.
class StatusBoard {
 public:
  using Invalid = std::map<ObjectKey, InvalidObject>;
  // What is known of an edge now; unset: there is none.
  using ReportOf =
      std::function<std::optional<EdgeReport>(const std::string& edge)>;

  void NotePlan(const IslandPlanner::Difference& difference);
  void NoteEdge(const std::string& edge) { edges_.insert(edge); }

  // Makes anew what may be another. Returns the objects whose plan or status
  // is; unset, the first time: all of them.
  std::optional<std::set<ObjectKey>> Restate(const IslandPlanner& planner,
                                             const Invalid& invalid,
                                             const ReportOf& report_of);

  const ObjectStatuses& statuses() const { return statuses_; }
  const EdgeReports& reports() const { return reports_; }

 private:
  void Begin(const Plan& plan, const Invalid& invalid,
             const ReportOf& report_of);
  bool TakeReport(const std::string& edge, const ReportOf& report_of);
  bool RestateObject(const ObjectKey& key, const Plan& plan,
                     const Invalid& invalid);

  bool begun_ = false;
  std::set<std::string> edges_;          // whose report may be another
  std::set<std::string> planned_edges_;  // whose plan is
  std::set<ObjectKey> objects_;          // likewise
  std::set<ObjectKey> invalid_;  // as last told
  EdgeReports reports_;
  ObjectStatuses statuses_;
};

}  // namespace edged::agent
