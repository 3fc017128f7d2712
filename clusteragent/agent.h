#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/control_plane.h"
#include "clusteragent/controller/kube_control_plane.h"
#include "clusteragent/controller/probe_server.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/island_planner.h"
#include "clusteragent/core/status_board.h"
#include "clusteragent/edge/resolver.h"
#include "clusteragent/edge_link.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/state_keeper.h"
#include "clusteragent/uplink/uplink_keeper.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "common/files.h"
#include "common/namespace_lock.h"

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
class Agent : private UplinkKeeper::Owner {
 public:
  static absl::StatusOr<std::unique_ptr<Agent>> Start(
      const AgentOptions& options);
  ~Agent() override;

  // Until SIGTERM or SIGINT. The kernel keeps carrying traffic afterwards, for
  // as long as there is this network namespace.
  absl::Status Run();

 private:
  static constexpr auto kTellDelay = std::chrono::milliseconds(20);
  // Until the tunnels of the process before are up again.
  static constexpr auto kStarting = std::chrono::seconds(5);
  // Until an edge has answered whoever leads now.
  static constexpr auto kSettling = std::chrono::seconds(3);

  Agent(const AgentOptions& options, std::unique_ptr<EventLoop> loop,
        FileLock lock, NamespaceLock namespace_lock,
        UplinkKeeper::Kernel kernel);
  absl::Status OpenControlPlane();
  std::string Metrics() const;
  absl::Status Begin();
  void Stop(int signal);

  // From the objects to the kernel and the edges: of what changed alone, or of
  // everything.
  void FollowChangesSoon();
  void PlanInTurn();
  void PlanNow();
  bool NeedsWholePlan() const;
  absl::Status TryPlan(bool whole);
  absl::StatusOr<IslandPlanner::Difference> Replan(bool whole);
  void FollowTerm();
  void TellErrors();
  bool IsJustMissing();
  absl::StatusOr<Facts> GatherFacts(bool whole);
  void HearOfEdge(const std::string& edge);
  EdgeLink& LinkOf(const std::string& edge);
  void FollowEdges(const IslandPlanner::Difference& difference, bool whole);

  EdgePlan ToCarry(const EdgePlan& edge) const;
  absl::Status CarryAll();  // the host as observed last
  absl::Status CarryThese(const std::set<std::string>& edges);

  // Of UplinkKeeper::Owner.
  void PlanSoon() override;  // everything
  void Carry(const UplinkDevice& device, int link) override;
  void CarryOn(const std::string& edge) override;
  void Announce(const Happening& news) override;
  void KeepDevices(const std::vector<std::string>& devices) override;
  void KeepSwitched(const std::set<SwitchedLink>& links) override;

  void TellSoon();
  bool IsSettled() const;
  void Tell();
  void LogReady(const ObjectKey& key);

  const AgentOptions options_;
  std::unique_ptr<EventLoop> loop_;
  FileLock lock_;
  NamespaceLock namespace_lock_;
  const StateFolder state_;
  StateKeeper keeper_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::unique_ptr<ProbeServer> probes_;
  std::unique_ptr<ProbeServer> metrics_;
  std::optional<Epoch> epoch_;  // as the links follow it
  bool stopping_ = false;
  UplinkKeeper uplink_;
  Resolver resolver_;
  Backoff backoff_;
  std::map<std::string, std::unique_ptr<EdgeLink>> links_;  // by EdgeNode name
  Allocation allocation_;
  IslandPlanner planner_;
  // The next plan is of everything, however little changed.
  bool whole_ = true;
  // The last one of that kind.
  std::chrono::steady_clock::time_point whole_ended_;
  std::chrono::steady_clock::duration whole_took_{};
  // Edges of which the uplink carries more than is wanted.
  std::set<std::string> lingering_;
  std::vector<std::string> told_errors_;
  std::optional<std::chrono::steady_clock::time_point> missing_since_;
  StatusBoard board_;
  std::map<std::string, EdgeEnrolment> joined_;  // as last told
  std::map<ObjectKey, std::string> told_ready_;
  std::chrono::steady_clock::time_point term_began_;
  const std::chrono::steady_clock::time_point began_ =
      std::chrono::steady_clock::now();
  std::string trouble_;  // with the last plan; empty: none
  EventLoop::TimerId plan_timer_ = 0;
  EventLoop::TimerId retry_timer_ = 0;
  EventLoop::TimerId tell_timer_ = 0;
};

}  // namespace edged::agent
