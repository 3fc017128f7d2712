// The part of Agent that makes its host what the plan says.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "clusteragent/agent.h"
#include "clusteragent/core/uplink_plan.h"
#include "common/drift/repair_text.h"
#include "common/status.h"

namespace edged::agent {
namespace {

constexpr auto kCompareInterval = std::chrono::seconds(30);
constexpr auto kFlowsAgain = std::chrono::seconds(1);  // after a failure

std::set<IpAddress> TargetsOf(const EdgePlan& edge) {
  std::set<IpAddress> targets;
  for (const PlannedMapping& mapping : edge.mappings) {
    for (const SocketAddress& endpoint : mapping.backend.endpoints) {
      targets.insert(endpoint.address);
    }
  }
  return targets;
}

bool HasTarget(const Plan& plan, const IpAddress& target) {
  return std::ranges::any_of(plan.edges, [&target](const EdgePlan& edge) {
    return std::ranges::any_of(
        edge.mappings, [&target](const PlannedMapping& mapping) {
          return std::ranges::find(mapping.backend.endpoints, target,
                                   &SocketAddress::address) !=
                 mapping.backend.endpoints.end();
        });
  });
}

}  // namespace

absl::StatusOr<UplinkInput> Agent::GatherUplinkInput() {
  UplinkInput input{.uplink = options_.uplink_name,
                    .forwarding_everywhere = host_->forwarding_everywhere,
                    .ipv6 = host_->ipv6,
                    .without_default = host_->without_default,
                    .local_addresses = host_->local_addresses,
                    .mark_mask = options_.mark_mask,
                    .user = ::geteuid(),
                    .has_timeouts = has_timeouts_};
  for (const auto& [name, link] : links_) input.access[name] = link->access();
  std::set<IpAddress> targets;
  for (const EdgePlan& edge : carried_.edges) targets.merge(TargetsOf(edge));
  ASSIGN_OR_RETURN(Uplink::TargetRoutes routes, uplink_.RoutesTo(targets));
  uplink_.TellNowhere(std::move(routes.nowhere));
  target_links_ = std::move(routes.links);
  input.target_links = std::move(routes.used);
  ASSIGN_OR_RETURN(input.switched_links, uplink_.Find(switched_links_));
  return input;
}

// Somebody else has changed something.
absl::Status Agent::ApplyUplinkAnew() {
  compare_all_ = true;
  ASSIGN_OR_RETURN(host_, uplink_.Observe());
  return ApplyUplink();
}

absl::Status Agent::ApplyUplink() {
  std::vector<EdgePlan> edges;
  lingering_.clear();
  for (const EdgePlan& edge : planner_.plan().edges) {
    edges.push_back(WithLingering(edge));
    if (edges.back() != edge) lingering_.insert(edge.edge);
  }
  carried_.edges = std::move(edges);
  ASSIGN_OR_RETURN(uplink_input_, GatherUplinkInput());
  ASSIGN_OR_RETURN(UplinkPlan plan, MakeUplinkPlan(carried_, uplink_input_));
  RememberSwitched(plan);
  // What others change is repaired as soon as the kernel tells of it; now and
  // then a plan looks for what it did not.
  const bool is_due = planned_ - compared_ >= kCompareInterval;
  const auto compare = is_due || compare_all_ || !applied_
                           ? Uplink::Compare::kAll
                           : Uplink::Compare::kChanged;
  const Uplink::Outcome outcome = uplink_.Apply(plan, compare);
  if (compare == Uplink::Compare::kAll) compared_ = planned_;
  compare_all_ = false;
  ConcludePlan(std::move(plan), outcome);
  Carry(outcome);
  // One device that fails keeps no flow from its target: the table stands where
  // the rules do.
  flows_stand_ = outcome.returns;
  DeleteStaleFlows();
  RETURN_IF_ERROR(outcome.status);
  ForgetSwitchedBack(uplink_plan_);
  return absl::OkStatus();
}

// What differs since everything was applied are mappings of these edges alone,
// or it takes everything.
absl::Status Agent::StepUplink(const std::set<std::string>& edges) {
  std::vector<EdgePlan> next;
  std::vector<EdgeStep> steps;
  next.reserve(edges.size());
  for (const std::string& name : edges) {
    const EdgePlan* edge = planner_.plan().Edge(name);
    const EdgePlan* before = carried_.Edge(name);
    if (edge == nullptr || before == nullptr) return ApplyUplinkAnew();
    next.push_back(WithLingering(*edge));
    if (next.back() == *edge) {
      lingering_.erase(name);
    } else {
      lingering_.insert(name);
    }
    if (*before != next.back()) steps.push_back({before, &next.back()});
  }
  if (steps.empty()) return absl::OkStatus();
  const auto step = UplinkStep::Make(steps, uplink_input_, uplink_plan_);
  if (!step || !FindTargets(steps)) return ApplyUplinkAnew();
  if (!step->change().empty()) {
    // Where others have changed what it rests on, it fails.
    if (!kernel_.nft->Apply(step->change()).ok()) return ApplyUplinkAnew();
    step->TakeInto(uplink_plan_);
    spdlog::info("uplink: {}", Summary(step->change()));
  }
  std::set<IpAddress> targets;
  for (const EdgeStep& edge : steps) targets.merge(TargetsOf(*edge.before));
  for (EdgePlan& edge : next) {
    const auto held =
        std::ranges::find(carried_.edges, edge.edge, &EdgePlan::edge);
    *held = std::move(edge);
  }
  ForgetTargets(targets);
  DeleteStaleFlows();
  for (const UplinkDevice& device : uplink_plan_.devices) {
    const bool is_there = devices_.contains(device.wireguard.name);
    if (is_there && edges.contains(device.edge)) LinkOf(device.edge).CarryOn();
  }
  return absl::OkStatus();
}

// False where one is reached over a link that no target was reached over: it
// has to forward, and be guarded.
bool Agent::FindTargets(const std::vector<EdgeStep>& edges) {
  std::set<IpAddress> added;
  for (const EdgeStep& edge : edges) {
    for (const IpAddress& target : TargetsOf(*edge.after)) {
      if (!target_links_.contains(target)) added.insert(target);
    }
  }
  if (added.empty()) return true;
  const auto routes = uplink_.RoutesTo(added);
  if (!routes.ok() || !routes->nowhere.empty()) return false;
  for (const TargetLink& link : routes->used) {
    const bool known = std::ranges::any_of(
        uplink_input_.target_links, [&link](const TargetLink& other) {
          return other.name == link.name && other.family == link.family;
        });
    if (!known) return false;
  }
  target_links_.insert(routes->links.begin(), routes->links.end());
  return true;
}

// Those of `targets` that nothing leads to any more. A link that led to no
// other one need not forward any more.
void Agent::ForgetTargets(const std::set<IpAddress>& targets) {
  for (const IpAddress& target : targets) {
    const auto found = target_links_.find(target);
    if (found == target_links_.end() || HasTarget(carried_, target)) continue;
    const std::string link = found->second;
    target_links_.erase(found);
    const bool is_used =
        std::ranges::any_of(target_links_, [&](const auto& other) {
          return other.second == link &&
                 other.first.family() == target.family();
        });
    if (!link.empty() && !is_used) PlanSoon();
  }
}

void Agent::DeleteStaleFlows() {
  loop_->Cancel(std::exchange(flows_timer_, 0));
  if (!flows_ || !flows_stand_) return;
  const auto deleted = flows_->DeleteStale(uplink_plan_.flows);
  if (!deleted.ok()) {
    spdlog::warn("stale flows: {}; trying again", Message(deleted.status()));
    flows_timer_ = loop_->After(kFlowsAgain, [this] { DeleteStaleFlows(); });
  } else if (*deleted > 0) {
    spdlog::info("stale flows: {} deleted", *deleted);
  }
}

// Before a link is made to forward, its name is on disk: whatever happens, it
// stays guarded until it is switched back.
void Agent::RememberSwitched(const UplinkPlan& plan) {
  std::set<SwitchedLink> links = switched_links_;
  for (const LinkConf& link : plan.links) {
    if (link.forwarding) links.insert(link.link);
  }
  if (links != switched_links_) KeepSwitched(std::move(links));
}

void Agent::ForgetSwitchedBack(const UplinkPlan& plan) {
  std::set<SwitchedLink> links = switched_links_;
  for (const LinkConf& link : plan.links) {
    if (!link.forwarding) links.erase(link.link);
  }
  if (links == switched_links_) return;
  KeepSwitched(std::move(links));
  PlanSoon();  // the guard of these links goes with the next plan
}

void Agent::KeepSwitched(std::set<SwitchedLink> links) {
  switched_links_ = std::move(links);
  keeper_.Keep("switched links",
               [this] { return state_.SaveSwitchedLinks(switched_links_); });
}

}  // namespace edged::agent
