#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/edge/resolver.h"
#include "clusteragent/edge_link.h"
#include "clusteragent/source/manifest_dir.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/uplink/uplink.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "common/files.h"
#include "common/namespace_lock.h"
#include "common/netlink/route_events.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/wireguard/client.h"

namespace edged::agent {

struct AgentOptions {
  std::string manifests;
  std::string state;
  std::string uplink_name;        // of this replica
  std::string wireguard_program;  // of wireguard-go; empty: never start one
  uint32_t mark_mask = 0xff;
};

// The process: reads the objects, plans, carries the uplink and keeps every
// edge at its state. One loop thread owns all of it.
class Agent {
 public:
  static absl::StatusOr<std::unique_ptr<Agent>> Start(
      const AgentOptions& options);
  ~Agent();

  // Until SIGTERM or SIGINT. The kernel keeps carrying traffic afterwards.
  absl::Status Run();

 private:
  struct Kernel {
    std::unique_ptr<nftables::Client> nft;
    std::unique_ptr<wireguard::Client> wireguard;
    netlink::Rtnetlink rtnetlink;
    netlink::RouteEvents events;
  };

  Agent(const AgentOptions& options, std::unique_ptr<EventLoop> loop,
        FileLock lock, NamespaceLock namespace_lock, Kernel kernel,
        ClusterIdentity identity, uint64_t epoch);
  absl::Status Begin();
  absl::Status WatchFolders();
  void OnRouteEvents();

  // Everything, from the objects to the kernel and the edges.
  void PlanSoon();
  void PlanAll();
  absl::Status TryPlanAll();
  absl::StatusOr<Plan> MakePlanNow();
  bool IsJustMissing(const Snapshot& snapshot);
  absl::StatusOr<Facts> GatherFacts();
  EdgeLink& LinkOf(const std::string& edge);
  absl::Status ApplyUplink();
  absl::Status RememberSwitched(const UplinkPlan& plan);
  absl::Status ForgetSwitchedBack(const UplinkPlan& plan);
  // The plan's mappings and those that only the edge still has: a removal
  // reaches the edge first.
  Plan WithLingering(const Plan& plan) const;

  void TellSoon();
  void Tell();

  const AgentOptions options_;
  std::unique_ptr<EventLoop> loop_;
  FileLock lock_;
  NamespaceLock namespace_lock_;
  Kernel kernel_;
  const StateFolder state_;
  const ClusterIdentity identity_;
  const uint64_t epoch_;
  ManifestDir source_;
  Uplink uplink_;
  Resolver resolver_;
  std::set<std::string> switched_links_;  // whose forwarding we switched on
  Backoff backoff_;
  std::map<std::string, std::unique_ptr<EdgeLink>> links_;  // by EdgeNode name
  Plan plan_;
  Plan carried_;  // as the uplink has it: `plan_` and what lingers
  std::vector<std::string> told_errors_;
  std::vector<std::string> saved_errors_{"none told yet"};
  std::optional<std::chrono::steady_clock::time_point> missing_since_;
  std::map<std::string, std::string> told_ready_;  // by object
  std::unique_ptr<FolderWatch> manifests_watch_;
  std::unique_ptr<FolderWatch> tokens_watch_;
  EventLoop::TimerId plan_timer_ = 0;
  EventLoop::TimerId retry_timer_ = 0;
  EventLoop::TimerId tell_timer_ = 0;
};

}  // namespace edged::agent
