#include "clusteragent/core/conntrack_plan.h"

#include <algorithm>
#include <iterator>

namespace edged::agent {
namespace {

// With more to look for than this, one look at everything is cheaper.
constexpr size_t kMostFilters = 4;

constexpr auto kUdpNumber = static_cast<uint8_t>(Protocol::kUdp);

}  // namespace

StaleFlows::StaleFlows(const FlowTargets& targets, std::vector<IpPrefix> blocks)
    : blocks_(std::move(blocks)) {
  for (const UplinkTarget& target : targets.udp) {
    if (target.ports.is_single()) {
      single_[{target.address, target.ports.first}].push_back(target.target);
    } else {
      ranges_.push_back({target.address, target.ports, target.target.address});
    }
  }
}

bool StaleFlows::IsMappingAddress(const IpAddress& address) const {
  // Index 0 of a block is this uplink's own address.
  return std::ranges::any_of(blocks_, [&address](const IpPrefix& block) {
    return block.Contains(address) && block.address() != address;
  });
}

bool StaleFlows::IsStale(const netlink::Flow& flow) const {
  const SocketAddress listener{flow.original.destination,
                               flow.original.destination_port};
  if (flow.protocol != kUdpNumber || !IsMappingAddress(listener.address)) {
    return false;
  }
  const SocketAddress goes{flow.reply.source, flow.reply.source_port};
  const auto single = single_.find(listener);
  if (single != single_.end() &&
      std::ranges::find(single->second, goes) != single->second.end()) {
    return false;
  }
  return std::ranges::none_of(ranges_, [&](const Range& range) {
    return range.address == listener.address &&
           range.ports.Contains(listener.port) &&
           goes == SocketAddress{range.target, listener.port};
  });
}

std::optional<std::set<netlink::FlowFilter>> WhereStale(
    const FlowTargets& before, const FlowTargets& after) {
  std::vector<UplinkTarget> changed;
  std::ranges::set_symmetric_difference(before.udp, after.udp,
                                        std::back_inserter(changed));
  std::set<netlink::FlowFilter> filters;
  for (const UplinkTarget& target : changed) {
    const uint16_t port = target.ports.is_single() ? target.ports.first : 0;
    filters.insert({netlink::FlowFilter::End::kOriginalDestination,
                    target.address, kUdpNumber, port});
    if (filters.size() > kMostFilters) return std::nullopt;
  }
  return filters;
}

}  // namespace edged::agent
