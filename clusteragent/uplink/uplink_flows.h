#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "clusteragent/core/conntrack_plan.h"
#include "common/netlink/conntrack.h"

namespace edged::agent {

// The flows of this network namespace as an uplink's targets want them. Belongs
// to the loop thread.
class UplinkFlows {
 public:
  explicit UplinkFlows(netlink::Conntrack conntrack)
      : conntrack_(std::move(conntrack)) {}

  // Deletes UDP flows that go elsewhere than `wanted`, which the table says by
  // now; returns their number. Looks at what changed since the last call that
  // succeeded, at first at all flows.
  absl::StatusOr<int> DeleteStale(const FlowTargets& wanted);
  // The table was not as it should be for a while: the next call looks at all.
  void Doubt() { judged_.reset(); }

 private:
  netlink::Conntrack conntrack_;
  std::optional<FlowTargets> judged_;
};

}  // namespace edged::agent
