#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/control_plane.h"
#include "clusteragent/controller/kube_control_plane.h"
#include "clusteragent/controller/probe_server.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/island_planner.h"
#include "clusteragent/core/repair_news.h"
#include "clusteragent/core/status_board.h"
#include "clusteragent/core/uplink_step.h"
#include "clusteragent/edge/resolver.h"
#include "clusteragent/edge_link.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/state_keeper.h"
#include "clusteragent/uplink/uplink.h"
#include "clusteragent/uplink/uplink_flows.h"
#include "common/backoff.h"
#include "common/drift/damage_report.h"
#include "common/drift/kernel_watch.h"
#include "common/drift/repair_pace.h"
#include "common/event_loop.h"
#include "common/files.h"
#include "common/namespace_lock.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/wireguard/client.h"

namespace edged::agent {

struct AgentOptions {
  std::string manifests;            // a folder; unused with `kube`
  std::optional<KubeOptions> kube;  // objects of Kubernetes
  std::string state;
  std::string uplink_name;        // of this replica
  std::string wireguard_program;  // of wireguard-go; empty: never start one
  uint32_t mark_mask = 0xff;
  // Where /healthz and /readyz are served, ":8081"; empty: nowhere. Only with
  // `kube`.
  std::string health_address;
  std::string metrics_address;  // likewise, /metrics for Prometheus
};

// The process: plans what the control plane wishes for, carries the uplink and,
// while it leads, keeps every edge at its state. One loop thread owns all of
// it.
class Agent {
 public:
  static absl::StatusOr<std::unique_ptr<Agent>> Start(
      const AgentOptions& options);
  ~Agent();

  // Until SIGTERM or SIGINT. The kernel keeps carrying traffic afterwards, for
  // as long as there is this network namespace.
  absl::Status Run();

 private:
  static constexpr auto kTellDelay = std::chrono::milliseconds(20);
  // Until the tunnels of the process before are up again.
  static constexpr auto kStarting = std::chrono::seconds(5);
  // Until an edge has answered whoever leads now.
  static constexpr auto kSettling = std::chrono::seconds(3);

  struct Kernel {
    std::unique_ptr<nftables::Client> nft;
    std::unique_ptr<wireguard::Client> wireguard;
    netlink::Rtnetlink rtnetlink;
  };

  Agent(const AgentOptions& options, std::unique_ptr<EventLoop> loop,
        FileLock lock, NamespaceLock namespace_lock, Kernel kernel);
  absl::Status OpenControlPlane();
  std::string Metrics() const;
  absl::Status Begin();
  void Stop(int signal);

  // What others change of what is ours.
  void StartWatching();
  void OnKernelEvents();
  void Repair();
  void CheckPeers();
  void Conclude(Drift drift, const Uplink::Outcome& outcome,
                std::chrono::steady_clock::time_point since);
  // For whoever does not read the log, and not each of many.
  void AnnounceRepair(const std::variant<Drift, Flood>& repair);
  void AnnounceDueRepairs();
  void ConcludePlan(UplinkPlan plan, const Uplink::Outcome& outcome);
  Drift DriftUnderPlan();
  void Carry(const Uplink::Outcome& outcome);

  // From the objects to the kernel and the edges: of what changed alone, or of
  // everything.
  void FollowChangesSoon();
  void PlanSoon();  // everything
  void PlanNow();
  absl::Status TryPlan(bool whole);
  absl::StatusOr<IslandPlanner::Difference> Replan(bool whole);
  void FollowTerm();
  void TellErrors();
  bool IsJustMissing();
  absl::StatusOr<Facts> GatherFacts(bool whole);
  void HearOfEdge(const std::string& edge);
  EdgeLink& LinkOf(const std::string& edge);
  void FollowEdges(const IslandPlanner::Difference& difference, bool whole);
  // The edge's mappings and those that only it still has: a removal reaches the
  // edge first.
  EdgePlan WithLingering(const EdgePlan& edge) const;

  // This host.
  absl::Status ApplyUplink();  // the host as observed last
  absl::Status ApplyUplinkAnew();
  absl::Status StepUplink(const std::set<std::string>& edges);
  absl::StatusOr<UplinkInput> GatherUplinkInput();
  bool FindTargets(const std::vector<EdgeStep>& edges);
  void ForgetTargets(const std::set<IpAddress>& targets);
  void DeleteStaleFlows();
  void RememberSwitched(const UplinkPlan& plan);
  void ForgetSwitchedBack(const UplinkPlan& plan);
  void KeepSwitched(std::set<SwitchedLink> links);

  void TellSoon();
  bool IsSettled() const;
  void Tell();
  void LogReady(const ObjectKey& key);

  const AgentOptions options_;
  std::unique_ptr<EventLoop> loop_;
  FileLock lock_;
  NamespaceLock namespace_lock_;
  Kernel kernel_;
  const StateFolder state_;
  StateKeeper keeper_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::unique_ptr<ProbeServer> probes_;
  std::unique_ptr<ProbeServer> metrics_;
  std::optional<Epoch> epoch_;  // as the links follow it
  bool stopping_ = false;
  Uplink uplink_;
  std::string no_timeouts_;           // why this kernel has none; empty: it has
  bool has_timeouts_ = false;         // it was asked, and has
  std::optional<UplinkFlows> flows_;  // unset: this kernel lists none
  Resolver resolver_;
  std::set<SwitchedLink> switched_links_;
  Backoff backoff_;
  std::map<std::string, std::unique_ptr<EdgeLink>> links_;  // by EdgeNode name
  Allocation allocation_;
  IslandPlanner planner_;
  // The next plan is of everything, however little changed.
  bool whole_ = true;
  std::chrono::steady_clock::duration took_{};  // the last one of that kind
  // The next one compares all devices of the host, and the last one that did.
  bool compare_all_ = true;
  std::chrono::steady_clock::time_point compared_;
  size_t next_checked_ = 0;         // of its devices: whose peers are looked at
  std::optional<UplinkHost> host_;  // as last observed
  Plan carried_;                    // edges as the uplink has them
  std::set<std::string> lingering_;  // those of which something does
  std::vector<std::string> told_errors_;
  std::optional<std::chrono::steady_clock::time_point> missing_since_;
  StatusBoard board_;
  std::map<std::string, EdgeEnrolment> joined_;  // as last told
  std::map<ObjectKey, std::string> told_ready_;
  UplinkPlan uplink_plan_;    // as it was last applied
  UplinkInput uplink_input_;  // that it was made with
  // The link that each target is reached over; empty: it is on this host.
  std::map<IpAddress, std::string> target_links_;
  std::map<std::string, int> devices_;  // by name: those that are as planned
  std::chrono::steady_clock::time_point term_began_;
  const std::chrono::steady_clock::time_point began_ =
      std::chrono::steady_clock::now();
  bool applied_ = false;      // the whole of it was
  std::string trouble_;       // with it; empty: none
  bool flows_stand_ = false;  // the table says where its flows go
  std::unique_ptr<KernelWatch> watch_;
  struct Damage {
    DamageReport table;
    DamageReport network;
    std::chrono::steady_clock::time_point since;
  };
  Damage damage_;
  bool beside_ = false;  // something happened that a plan may rest on
  struct Unrepaired {
    Drift drift;
    std::chrono::steady_clock::time_point since;
  };
  std::optional<Unrepaired> unrepaired_;
  RepairPace pace_;
  RepairNews repair_news_;
  std::chrono::steady_clock::time_point planned_;
  EventLoop::TimerId beside_timer_ = 0;
  EventLoop::TimerId repair_timer_ = 0;
  EventLoop::TimerId news_timer_ = 0;
  EventLoop::TimerId plan_timer_ = 0;
  EventLoop::TimerId flows_timer_ = 0;
  EventLoop::TimerId retry_timer_ = 0;
  EventLoop::TimerId tell_timer_ = 0;
};

}  // namespace edged::agent
