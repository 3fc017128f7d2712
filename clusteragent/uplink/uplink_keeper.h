#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/core/happening.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/repair_news.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/core/uplink_step.h"
#include "clusteragent/uplink/host.h"
#include "clusteragent/uplink/uplink.h"
#include "clusteragent/uplink/uplink_flows.h"
#include "common/drift/damage_report.h"
#include "common/drift/drift.h"
#include "common/drift/kernel_watch.h"
#include "common/drift/repair_pace.h"
#include "common/event_loop.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/wireguard/client.h"

namespace edged::agent {

// Keeps this host as the plan of the edges wants it: writes what a plan changes
// and what others have changed, deletes stale flows, and remembers which links
// it has made forward. Belongs to the loop thread.
class UplinkKeeper {
 public:
  struct Kernel {
    std::unique_ptr<nftables::Client> nft;
    std::unique_ptr<wireguard::Client> wireguard;
    netlink::Rtnetlink rtnetlink;
  };
  struct Options {
    std::string uplink;  // our name
    uint32_t mark_mask = 0;
    // Of an earlier run.
    std::vector<std::string> devices;
    std::set<SwitchedLink> switched_links;
  };
  // Whoever plans.
  class Owner {
   public:
    virtual ~Owner() = default;
    // What plans rest on may be another: to be observed and applied anew.
    virtual void PlanSoon() = 0;
    // The device is as planned, and `link` its index.
    virtual void Carry(const UplinkDevice& device, int link) = 0;
    // Likewise, where mappings of its edge alone are others than before.
    virtual void CarryOn(const std::string& edge) = 0;
    // For whoever does not read the log.
    virtual void Announce(const Happening& news) = 0;
    // For the Options of the next run. Links are kept before they are made to
    // forward: whatever happens, they stay guarded until they are switched
    // back.
    virtual void KeepDevices(const std::vector<std::string>& devices) = 0;
    virtual void KeepSwitched(const std::set<SwitchedLink>& links) = 0;
  };

  // `loop` and `owner` are borrowed and outlive this.
  UplinkKeeper(EventLoop& loop, Owner& owner, Kernel kernel,
               const Options& options);

  // Begins to see what others change.
  void Start();

  // To be called before plans are made of what it finds: Apply() rests on it.
  absl::Status Observe();
  // As last observed; nullptr before.
  const UplinkHost* host() const { return host_ ? &*host_ : nullptr; }
  // Why this kernel keeps no timeouts of single bindings; empty: it does.
  const std::string& no_timeouts() const { return no_timeouts_; }

  // The whole, to carry these edges; `access` by EdgeNode name. What fails is
  // not applied(), and all else stands.
  absl::Status Apply(std::vector<EdgePlan> edges,
                     std::map<std::string, EdgeAccess> access);
  // What differs since then are mappings of these edges alone. False: it takes
  // Observe() and Apply().
  bool Step(std::vector<EdgePlan> edges);

  // The edges as they are carried; nullptr when it is not.
  const EdgePlan* Carried(const std::string& edge) const {
    return carried_.Edge(edge);
  }
  bool applied() const { return applied_; }  // the last plan, wholly
  wireguard::Backend backend() const { return kernel_.wireguard->backend(); }
  // To speak through.
  Uplink& uplink() { return uplink_; }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  absl::StatusOr<UplinkInput> GatherInput(
      std::map<std::string, EdgeAccess> access);
  void ConcludePlan(UplinkPlan plan, const Uplink::Outcome& outcome);
  void TellCarried(const Uplink::Outcome& outcome);
  bool FindTargets(const std::vector<EdgeStep>& edges);
  void ForgetTargets(const std::set<IpAddress>& targets);
  void DeleteStaleFlows();
  void RememberSwitched(const UplinkPlan& plan);
  void ForgetSwitchedBack(const UplinkPlan& plan);
  void KeepSwitched(std::set<SwitchedLink> links);

  // What others change of what is ours.
  void OnKernelEvents();
  void Repair();
  void CheckPeers();
  void Conclude(Drift drift, const Uplink::Outcome& outcome, SteadyTime since);
  Drift DriftUnderPlan();
  void Announce(const std::variant<Drift, Flood>& repair);
  void AnnounceDue();

  EventLoop& loop_;
  Owner& owner_;
  const std::string name_;  // of this uplink
  const uint32_t mark_mask_;
  Kernel kernel_;
  Uplink uplink_;
  std::optional<UplinkFlows> flows_;  // unset: this kernel lists none
  std::string no_timeouts_;
  bool has_timeouts_ = false;  // it was asked, and has
  std::optional<UplinkHost> host_;

  // As last applied.
  Plan carried_;
  UplinkInput input_;
  UplinkPlan plan_;
  std::map<std::string, int> devices_;  // by name: those that are as planned
  // The link that each target is reached over; empty: it is on this host.
  std::map<IpAddress, std::string> target_links_;
  std::set<IpAddress> nowhere_;  // targets without a route
  std::set<SwitchedLink> switched_links_;
  bool applied_ = false;
  bool flows_stand_ = false;  // the table says where its flows go
  SteadyTime flows_after_;    // they are looked at again
  SteadyTime begun_;          // the last time that all of it was
  // The next Apply() compares all devices, and the last one that did.
  bool compare_all_ = true;
  SteadyTime compared_;
  size_t next_checked_ = 0;  // of the devices: whose peers are looked at

  std::unique_ptr<KernelWatch> watch_;
  struct Damage {
    DamageReport table;
    DamageReport network;
    SteadyTime since;
  };
  Damage damage_;
  bool beside_ = false;  // something happened that a plan may rest on
  struct Unrepaired {
    Drift drift;
    SteadyTime since;
  };
  std::optional<Unrepaired> unrepaired_;
  RepairPace pace_;
  RepairNews news_;
  EventLoop::TimerId beside_timer_ = 0;
  EventLoop::TimerId repair_timer_ = 0;
  EventLoop::TimerId news_timer_ = 0;
  EventLoop::TimerId flows_timer_ = 0;
};

}  // namespace edged::agent
