#pragma once

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "clusteragent/core/uplink_table.h"
#include "common/net_types.h"
#include "common/netlink/conntrack.h"

// Which UDP flows of an uplink go somewhere else than they should: TCP
// connections keep the target that they began with. Pure.

namespace edged::agent {

// Where the flows of an uplink's mapping addresses should go.
struct FlowTargets {
  std::vector<IpPrefix> blocks;  // of this uplink on its edges
  std::vector<UplinkTarget>
      udp;  // sorted; of one listener there may be several
  bool operator==(const FlowTargets&) const = default;
};

// One object serves one pass over the kernel's table.
class StaleFlows {
 public:
  // `blocks`: in which mapping addresses lie, also those of edges that are
  // gone.
  StaleFlows(const FlowTargets& targets, std::vector<IpPrefix> blocks);

  // A UDP flow to a mapping address that goes to none of its targets: they
  // changed, or it began untranslated.
  bool IsStale(const netlink::Flow& flow) const;

 private:
  struct Range {
    IpAddress address;
    PortRange ports;
    IpAddress target;
  };

  bool IsMappingAddress(const IpAddress& address) const;

  std::vector<IpPrefix> blocks_;
  absl::flat_hash_map<SocketAddress, std::vector<SocketAddress>> single_;
  std::vector<Range> ranges_;
};

// Where flows can have become stale by the change from `before` to `after`.
// Unset: all flows are to be looked at.
std::optional<std::set<netlink::FlowFilter>> WhereStale(
    const FlowTargets& before, const FlowTargets& after);

}  // namespace edged::agent
