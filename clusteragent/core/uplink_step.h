#pragma once

#include <optional>
#include <vector>

#include "clusteragent/core/planner.h"
#include "clusteragent/core/uplink_plan.h"
#include "common/nftables/ruleset.h"
#include "common/nftables/transaction.h"

// From one uplink plan to the next where nothing but mappings of some edges
// differs: what a whole plan would come to, for the cost of these edges. Pure.

namespace edged::agent {

// One edge before and after; of one name.
struct EdgeStep {
  const EdgePlan* before;
  const EdgePlan* after;
};

class UplinkStep {
 public:
  // From `plan`, which was made with `input`. Unset: it takes a whole plan.
  static std::optional<UplinkStep> Make(const std::vector<EdgeStep>& edges,
                                        const UplinkInput& input,
                                        const UplinkPlan& plan);

  // Of the kernel's table; empty where no difference reaches this uplink.
  const nftables::Transaction& change() const { return change_; }
  // `plan` as it is then.
  void TakeInto(UplinkPlan& plan) const;

 private:
  // Elements of one map.
  struct MapStep {
    nftables::Set set;
    std::vector<nftables::Element> removed;
    std::vector<nftables::Element> added;
  };

  UplinkStep() : change_(kUplinkTable) {}
  bool CompareMaps(const nftables::Table& before, const nftables::Table& after,
                   const nftables::Table& whole);
  bool CompareChains(const nftables::Table& before,
                     const nftables::Table& after,
                     const nftables::Table& whole);
  size_t UsersLeft(const nftables::Table& whole,
                   const std::string& chain) const;
  void FillChange();

  nftables::Transaction change_;
  std::vector<MapStep> maps_;
  std::vector<nftables::Chain> new_chains_;
  std::vector<nftables::Chain> other_chains_;  // with other rules
  std::vector<std::string> old_chains_;
  std::vector<UplinkTarget> removed_udp_;  // sorted
  std::vector<UplinkTarget> added_udp_;    // likewise
};

}  // namespace edged::agent
