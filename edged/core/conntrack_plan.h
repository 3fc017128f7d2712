#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/netlink/conntrack.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"

namespace edged::edge {

// Tells which flows of the kernel's connection table no longer fit. Borrows
// the model and the facts; one object serves one pass over the table. Pure.
//
// UDP: a flow that we translated (or that came back by the way-back chains)
// whose mapping is gone, points to a group without its uplink or that does not
// admit the client, or whose uplink neither serves nor drains; and a flow on a
// listener that we map now but that began untranslated. TCP: flows of an uplink
// that is removed or in `long_dead`, and as UDP those that nobody has answered:
// the client tries again and reaches another uplink. A slot that moved makes
// nothing stale.
class StaleFlows {
 public:
  StaleFlows(const EdgeModel& model, const HostFacts& facts,
             const std::set<std::string>& long_dead = {});

  bool IsStale(const netlink::Flow& flow) const;

 private:
  struct Target {  // what a mapping address stands for
    const protocol::Uplink* uplink = nullptr;
    IpAddress public_address;
    bool long_dead = false;
  };
  struct Door {  // where a client comes in
    IpAddress client;
    IpAddress nic;
    uint16_t port = 0;
    Protocol protocol = Protocol::kUdp;
    bool connected = false;  // TCP, and both ends have spoken
  };

  bool IsMappingAddress(const IpAddress& address) const;
  bool IsStaleVia(const IpAddress& mapping_address, const Door& door) const;
  const protocol::Group* GroupAt(const Door& door) const;  // nullptr: unmapped

  const EdgeModel& model_;
  const UplinkHealth& health_;
  std::vector<protocol::Overlay> overlays_;
  absl::flat_hash_map<IpAddress, Target> targets_;  // by mapping address
  absl::flat_hash_map<IpAddress, IpAddress>
      public_addresses_;  // by nic address
};

// Where a change can have made flows stale: a change of one mapping is no
// reason to read a table of 100,000 flows. Collects changes until somebody
// looks. Pure.
class FlowSearch {
 public:
  static FlowSearch Everywhere();
  // After `accepted` of a judgement by `before`.
  static FlowSearch After(const EdgeModel& before,
                          const protocol::EdgeDelta& accepted);
  // After health changed: the flows of whoever does not serve.
  static FlowSearch Unserving();

  void Add(const FlowSearch& other);
  bool empty() const { return !everywhere_ && !unserving_ && doors_.empty(); }

  // Unset: all flows are to be looked at.
  std::optional<std::set<netlink::FlowFilter>> Filters(
      const EdgeModel& model, const HostFacts& facts) const;

 private:
  void AddDoor(const protocol::Listener& listener, bool was_mapped);

  bool everywhere_ = false;
  bool unserving_ = false;
  // UDP, and whether they were mapped before: else nothing came back by them.
  std::map<protocol::Listener, bool> doors_;
};

}  // namespace edged::edge
