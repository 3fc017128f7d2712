#pragma once

#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/conntrack.h"
#include "common/netlink/route_events.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/wireguard/client.h"
#include "edged/core/astray.h"
#include "edged/core/conntrack_plan.h"
#include "edged/core/drift_damage.h"
#include "edged/core/edge_api.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"
#include "edged/core/served_addresses.h"
#include "edged/core/wireguard_plan.h"
#include "edged/system/host_network.h"
#include "edged/system/kernel_mappings.h"

namespace edged::edge {

// The kernel's interfaces that the data plane is programmed through. Borrowed.
struct KernelClients {
  nftables::Client& nft;
  wireguard::Client& wireguard;
  netlink::Rtnetlink& rtnetlink;
  netlink::Conntrack& conntrack;
};

// This host's kernel as the model wants it: observes, plans (core/), applies,
// reads back. It holds what it knows of the host, never what is wanted. Belongs
// to the loop thread. After any error the kernel keeps the last good state as
// far as it was written; Reconcile() brings the rest. What returns a text tells
// people what was written; empty: nothing had to be.
class Dataplane {
 public:
  Dataplane(const KernelClients& kernel, const Limits& limits,
            TunnelIdentity identity);

  // Interfaces whose forwarding an earlier run switched on.
  void RememberSwitched(std::set<std::string> interfaces) {
    facts_.switched_interfaces = std::move(interfaces);
  }
  // True when the kernel still has a table and peers of an earlier run.
  absl::StatusOr<bool> IsProgrammed() const;
  bool HasPeer(const PublicKey& key) const;

  // The whole: device, table, peers, addresses, routes; writes differences
  // only. The table comes before anything that lets packets in.
  absl::StatusOr<std::string> Reconcile(const EdgeModel& model,
                                        UplinkHealth health,
                                        const Endpoints& endpoints);

  // After others changed the table: those parts alone where that is enough.
  absl::StatusOr<std::string> RepairTable(const EdgeModel& model,
                                          const TableDamage& damage);
  // After others changed links, addresses, routes or settings; the table too
  // when this host's addresses or interfaces are not what they were.
  absl::StatusOr<std::string> RepairNetwork(const EdgeModel& model,
                                            const Endpoints& endpoints);
  // What the kernel tells nobody about is not what it was at the last look:
  // settings of the host, and neighbours that may be gateways.
  bool HasHiddenChange(const EdgeModel& model) const;
  // `observed` as Tunnel() has just told it.
  absl::StatusOr<std::string> RepairTunnel(const EdgeModel& model,
                                           const Endpoints& endpoints,
                                           const wireguard::Device& observed);
  // Writes SilentPeersAnew() (edged/core/wireguard_plan).
  absl::Status RenewSilentPeers(const EdgeModel& model,
                                const Endpoints& endpoints);
  // What packets to and from an uplink may have at most, as it says; to be
  // followed by RepairNetwork() when this is true: it is something else.
  bool TakeUplinkMtu(const std::string& uplink, uint32_t mtu);
  // False for what happens beside us.
  bool Concerns(const EdgeModel& model, const netlink::RouteEvent& event) const;

  // One judged delta in the nf_tables, read back. The caller then commits it to
  // its model and calls ReconcileTunnel() when uplinks or settings changed.
  absl::Status ApplyDelta(const EdgeModel& before,
                          const protocol::EdgeDelta& accepted);
  // The device's private key from now on, and its writing. What comes by the
  // old sessions is still read; what goes out waits in the device for a new
  // handshake.
  void UseKey(const PrivateKey& key) { identity_.key = key; }
  absl::Status WriteKey();
  // Device, peers, addresses, routes.
  absl::StatusOr<std::string> ReconcileTunnel(const EdgeModel& model,
                                              const Endpoints& endpoints);
  // New health, and the groups that it changes. After an error the old health
  // is still what facts() say.
  absl::Status ApplyHealth(const EdgeModel& model, UplinkHealth health);

  // Of those that `search` finds, deletes flows that fit the model no longer,
  // TCP only of the uplinks in `long_dead` or removed ones; returns their
  // number.
  absl::StatusOr<int> DeleteStaleFlows(const EdgeModel& model,
                                       const std::set<std::string>& long_dead,
                                       const FlowSearch& search);

  // Reads every mapping back from the kernel. Once more when the sum is not
  // ProgrammedDigest(): a dump beside writers, or while the kernel's table
  // still grows, may repeat and miss elements without a mark (6.18).
  absl::StatusOr<protocol::Digest> Audit(const EdgeModel& model);
  // Why this kernel keeps no timeouts of single groups; empty: it does. Asks it
  // once.
  absl::StatusOr<std::string> WhyNoTimeouts();
  // What is programmed: the model's digest without mappings that cannot be.
  protocol::Digest ProgrammedDigest(const EdgeModel& model) const {
    return edge::ProgrammedDigest(model, facts_);
  }
  std::vector<Refusal> NotProgrammed(const EdgeModel& model) const {
    return edge::NotProgrammed(model, facts_, unserved_);
  }
  std::vector<ResolvedAddress> Addresses(const EdgeModel& model) const {
    return ResolvedAddresses(model.settings(), facts_, unserved_);
  }
  // Mappings with their counters, sorted.
  absl::StatusOr<std::vector<MappingStatus>> Mappings() const {
    return Mapped().List();
  }

  // This host knows a route to `address` now.
  bool HasWayTo(const IpAddress& address) const;
  // The tunnel device with its peers.
  absl::StatusOr<wireguard::Device> Tunnel() const;
  // As of the last ReconcileTunnel(), for packets that this host makes itself.
  const Astray& astray() const { return astray_; }
  wireguard::Backend backend() const { return kernel_.wireguard.backend(); }
  const HostFacts& facts() const { return facts_; }
  int device_index() const;  // as last observed; 0: there is none

  // Removes everything that was made: table, device, switched forwarding.
  absl::Status Remove();

 private:
  KernelMappings Mapped() const { return {kernel_.nft, marks_, facts_}; }
  absl::Status ApplyWhole(const EdgeModel& before,
                          const protocol::EdgeDelta& accepted);
  absl::Status ApplyWithFreedMarks(const EdgeModel& before,
                                   const protocol::EdgeDelta& accepted);
  absl::Status ObserveHost(const EdgeModel& model);
  absl::Status FindWays(const EdgeModel& model);
  absl::Status ObserveNeighbours();  // where their word is asked for
  const netlink::Link* FindLink(const std::string& name) const;  // observed
  absl::StatusOr<std::string> ReconcileTable(const EdgeModel& model);
  void LookAtUnderlay(const EdgeModel& model);
  void LookForAstray(const EdgeModel& model);

  KernelClients kernel_;
  TunnelIdentity identity_;
  HostFacts facts_;
  HostNetwork host_;
  Endpoints endpoints_;  // as last given
  Astray astray_;
  UnservedAddresses unserved_;
  GroupMarks marks_;
  bool timeouts_known_ = false;  // the kernel was asked
  bool marks_known_ = false;     // the kernel's were taken over
};

}  // namespace edged::edge
