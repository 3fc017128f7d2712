#include "clusteragent/uplink/uplink_flows.h"

#include <utility>
#include <vector>

#include "common/status.h"

namespace edged::agent {

absl::StatusOr<int> UplinkFlows::DeleteStale(const FlowTargets& wanted) {
  if (judged_ == wanted) return 0;
  std::vector<IpPrefix> blocks = wanted.blocks;
  std::optional<std::set<netlink::FlowFilter>> filters;
  if (judged_) {
    blocks.insert(blocks.end(), judged_->blocks.begin(), judged_->blocks.end());
    filters = WhereStale(*judged_, wanted);
    if (filters && filters->empty()) {
      judged_ = wanted;
      return 0;
    }
  }
  const StaleFlows stale(wanted, std::move(blocks));
  std::vector<netlink::Flow> found;
  const auto judge = [&stale, &found](const netlink::Flow& flow) {
    if (stale.IsStale(flow)) found.push_back(flow);
  };
  if (filters) {
    for (const netlink::FlowFilter& filter : *filters) {
      RETURN_IF_ERROR(conntrack_.ForEachFlow(filter, judge));
    }
  } else {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      RETURN_IF_ERROR(conntrack_.ForEachFlow(family, judge));
    }
  }
  ASSIGN_OR_RETURN(const int deleted, conntrack_.Delete(found));
  judged_ = wanted;
  return deleted;
}

}  // namespace edged::agent
