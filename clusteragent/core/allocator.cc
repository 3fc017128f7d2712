#include "clusteragent/core/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "clusteragent/core/mark_mask.h"
#include "common/protocol/overlay.h"

namespace edged::agent {
namespace {

constexpr int kNetworkLength = 22;  // of an allocated network
constexpr uint32_t kMostEdges = 255;
constexpr uint32_t kMostSubnets = 65535;  // of the cluster's IPv6 prefix
constexpr uint32_t kMostUplinks = protocol::kBlocks - 1;

// One run of Allocate over the EdgeNodes, the oldest first.
class Allocator {
 public:
  Allocator(const Records& records, const World& world, const Facts& facts)
      : facts_(facts) {
    allocation_.records = records;
    for (const EdgeNode& node : world.edge_nodes) nodes_.push_back(&node);
    std::ranges::sort(nodes_, [](const EdgeNode* a, const EdgeNode* b) {
      return IsOlder(a->meta, b->meta);
    });
  }

  Allocation Run() {
    DropGone();
    // What stands first; then what is asked for by name; then what is left.
    for (const EdgeNode* node : nodes_) KeepRecorded(*node);
    for (const EdgeNode* node : nodes_) {
      if (node->tunnel.network) TakeNamedNetwork(*node);
    }
    for (const EdgeNode* node : nodes_) {
      if (!node->tunnel.network) TakeFreeNetwork(*node);
    }
    for (const EdgeNode* node : nodes_) {
      TakeNumber(*node);
      if (Recorded(*node) != nullptr) TakeNetwork6(*node);
    }
    for (const EdgeNode* node : nodes_) {
      if (Recorded(*node) == nullptr) continue;
      IndexPublicIps(*node);
      AssignBlocks(*node);
    }
    return std::move(allocation_);
  }

 private:
  void Problem(const EdgeNode& node, const char* reason,
               const std::string& message) {
    allocation_.problems[node.meta.name].push_back(
        {reason, fmt::format("{}: {}", node.Key().ToString(), message)});
  }

  EdgeRecord* Recorded(const EdgeNode& node) {
    const auto found = allocation_.records.edges.find(node.meta.name);
    return found == allocation_.records.edges.end() ? nullptr : &found->second;
  }

  void DropGone() {
    Records& records = allocation_.records;
    std::map<std::string, std::string> uids;  // by name
    for (const EdgeNode* node : nodes_) uids[node->meta.name] = node->meta.uid;
    std::erase_if(records.edges, [this, &uids](const auto& entry) {
      const auto found = uids.find(entry.first);
      if (found == uids.end()) return !facts_.world_is_partial;
      const std::string& was = entry.second.uid;
      return !was.empty() && found->second != was;
    });
    std::vector<std::string> gone;
    for (const auto& [name, number] : records.numbers.taken) {
      if (!records.edges.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : gone) records.numbers.Free(name);
  }

  // The network of `holder`, a record or a tunnel.
  template <typename Holder>
  static std::optional<IpPrefix> OfFamily(Family family, const Holder& holder) {
    if (family == Family::kIpv4) return holder.network;
    return holder.network6;
  }

  // What `network` may not be beside, or nothing. `self` is not asked.
  std::optional<std::string> Neighbour(const EdgeNode& self,
                                       const IpPrefix& network) const {
    for (const auto& [name, record] : allocation_.records.edges) {
      if (name == self.meta.name) continue;
      const auto& other = OfFamily(network.family(), record);
      if (other && other->Overlaps(network)) {
        return fmt::format("the network {} of EdgeNode {}", other->ToString(),
                           name);
      }
    }
    for (const IpPrefix& route : facts_.host_routes) {
      if (route.length() > 0 && route.Overlaps(network)) {
        return fmt::format("{}, which this host routes", route.ToString());
      }
    }
    return std::nullopt;
  }

  void KeepRecorded(const EdgeNode& node) {
    EdgeRecord* record = Recorded(node);
    if (record == nullptr) return;
    record->uid = node.meta.uid;
    record->enrolled = record->enrolled || facts_.Edge(node.meta.name).enrolled;
    const bool enrolled = record->enrolled;
    const uint16_t port = node.tunnel.listen_port;
    if (enrolled && port != record->listen_port) {
      Problem(node, reason::kTunnelImmutable,
              fmt::format("spec.tunnel.listenPort: {} is refused, the edge is "
                          "enrolled with {}",
                          port, record->listen_port));
    } else {
      record->listen_port = port;
    }
    if (const auto& network = node.tunnel.network;
        enrolled && network && *network != record->network) {
      Problem(node, reason::kTunnelImmutable,
              fmt::format("spec.tunnel.network: {} is refused, the edge is "
                          "enrolled with {}",
                          network->ToString(), record->network.ToString()));
    }
    if (const auto& network = node.tunnel.network6;
        enrolled && network && record->network6 &&
        *network != *record->network6) {
      Problem(node, reason::kTunnelImmutable,
              fmt::format("spec.tunnel.network6: {} is refused, the edge is "
                          "enrolled with {}",
                          network->ToString(), record->network6->ToString()));
    }
    for (const auto& network :
         {std::optional(record->network), record->network6}) {
      if (!network) continue;
      if (const auto neighbour = Neighbour(node, *network)) {
        Problem(node, reason::kNetworkOverlap,
                fmt::format("its network {} overlaps {}", network->ToString(),
                            *neighbour));
      }
    }
  }

  void TakeNamedNetwork(const EdgeNode& node) {
    const IpPrefix& network = *node.tunnel.network;
    EdgeRecord* record = Recorded(node);
    if (record != nullptr && (record->network == network || record->enrolled)) {
      return;
    }
    if (const auto neighbour = Neighbour(node, network)) {
      Problem(node, reason::kNetworkOverlap,
              fmt::format("spec.tunnel.network: {} overlaps {}",
                          network.ToString(), *neighbour));
      return;
    }
    Record(node, network);
  }

  void TakeFreeNetwork(const EdgeNode& node) {
    if (Recorded(node) != nullptr) return;
    const IpPrefix& supernet = facts_.supernet;
    const int spare = kNetworkLength - supernet.length();
    for (uint32_t i = 0; spare >= 0 && i < 1u << spare; ++i) {
      const IpPrefix network(supernet.address().Plus(
                                 i, supernet.address().bits() - kNetworkLength),
                             kNetworkLength);
      if (Neighbour(node, network) || NamedByAnother(node, network)) continue;
      Record(node, network);
      return;
    }
    Problem(node, reason::kNoFreeNetwork,
            fmt::format("no /{} of {} is free; name one in spec.tunnel.network",
                        kNetworkLength, supernet.ToString()));
  }

  // Whether an EdgeNode names a network there, though it may not have it yet.
  bool NamedByAnother(const EdgeNode& self, const IpPrefix& network) const {
    return std::ranges::any_of(nodes_, [&](const EdgeNode* other) {
      const auto named = OfFamily(network.family(), other->tunnel);
      return other->meta.name != self.meta.name && named &&
             named->Overlaps(network);
    });
  }

  // The one that is named, or the next free /64 of the cluster's own prefix.
  // An edge that can have none serves IPv4 alone.
  void TakeNetwork6(const EdgeNode& node) {
    EdgeRecord& record = *Recorded(node);
    const auto& named = node.tunnel.network6;
    if (record.network6 &&
        (!named || *named == *record.network6 || record.enrolled)) {
      return;
    }
    if (named) {
      if (const auto neighbour = Neighbour(node, *named)) {
        Problem(node, reason::kNetworkOverlap,
                fmt::format("spec.tunnel.network6: {} overlaps {}",
                            named->ToString(), *neighbour));
      } else {
        record.network6 = *named;
      }
      return;
    }
    for (uint32_t i = 1; i <= kMostSubnets; ++i) {
      const IpPrefix network = protocol::UniqueLocalNetwork(
          facts_.cluster_uid, static_cast<uint16_t>(i));
      if (Neighbour(node, network) || NamedByAnother(node, network)) continue;
      record.network6 = network;
      return;
    }
  }

  void Record(const EdgeNode& node, const IpPrefix& network) {
    EdgeRecord& record = allocation_.records.edges[node.meta.name];
    record.uid = node.meta.uid;
    record.network = network;
    record.listen_port = node.tunnel.listen_port;
  }

  void TakeNumber(const EdgeNode& node) {
    if (Recorded(node) == nullptr) return;
    const auto mask = MarkMask::Create(facts_.mark_mask);
    const uint32_t limit = mask.ok() ? mask->Capacity() : kMostEdges;
    if (allocation_.records.numbers.Take(node.meta.name, limit)) return;
    allocation_.records.edges.erase(node.meta.name);
    Problem(node, reason::kTooManyEdgeNodes,
            fmt::format("{} EdgeNodes have a mark already, and --mark-mask "
                        "0x{:x} has room for no more",
                        limit, facts_.mark_mask));
  }

  // Frees the names of `pool` that are not in `wanted`.
  static void FreeOthers(IndexPool& pool, const std::set<std::string>& wanted) {
    std::vector<std::string> gone;
    for (const auto& [name, number] : pool.taken) {
      if (!wanted.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : gone) pool.Free(name);
  }

  void IndexPublicIps(const EdgeNode& node) {
    EdgeRecord& record = *Recorded(node);
    const std::vector<PublicIp> public_ips = node.PublicIps();
    if (public_ips.empty()) {
      Problem(node, reason::kNoPublicIp,
              fmt::format("spec.publicIPs: is empty, and the address {} is a "
                          "host name",
                          node.address));
    }
    std::set<std::string> wanted;
    for (const PublicIp& ip : public_ips) wanted.insert(ip.address.ToString());
    FreeOthers(record.public_indexes, wanted);
    FreeOthers(record.public_indexes6, wanted);
    for (const PublicIp& ip : public_ips) {
      const auto network = OfFamily(ip.address.family(), record);
      if (!network) continue;
      IndexPool& pool =
          ip.address.is_ipv4() ? record.public_indexes : record.public_indexes6;
      const auto overlay = protocol::Overlay::Create(*network);
      const uint32_t limit = overlay.ok() ? overlay->MaxIndex() : 0;
      if (pool.Take(ip.address.ToString(), limit)) continue;
      Problem(
          node, reason::kTooManyPublicIps,
          fmt::format("spec.publicIPs: {} has no place, network {} has room "
                      "for {}",
                      ip.address.ToString(), network->ToString(), limit));
    }
  }

  void AssignBlocks(const EdgeNode& node) {
    EdgeRecord& record = *Recorded(node);
    std::set<std::string> serving;
    for (const UplinkFacts& uplink : facts_.uplinks) {
      if (node.uplink_selector.Matches(uplink.labels)) {
        serving.insert(uplink.name);
      }
    }
    FreeOthers(record.blocks, serving);
    if (serving.empty()) {
      Problem(node, reason::kNoUplink,
              fmt::format("spec.uplinkSelector: no uplink matches \"{}\"",
                          node.uplink_selector.ToString()));
    }
    for (const std::string& uplink : serving) {
      if (record.blocks.Take(uplink, kMostUplinks)) continue;
      Problem(node, reason::kTooManyUplinks,
              fmt::format("uplink {} has no place, an edge has room for {}",
                          uplink, kMostUplinks));
    }
  }

  const Facts& facts_;
  std::vector<const EdgeNode*> nodes_;  // the oldest first
  Allocation allocation_;
};

}  // namespace

std::optional<uint32_t> EdgeRecord::IndexOf(
    const IpAddress& public_address) const {
  const IndexPool& pool =
      public_address.is_ipv4() ? public_indexes : public_indexes6;
  return pool.Find(public_address.ToString());
}

Allocation Allocate(const Records& records, const World& world,
                    const Facts& facts) {
  return Allocator(records, world, facts).Run();
}

}  // namespace edged::agent
