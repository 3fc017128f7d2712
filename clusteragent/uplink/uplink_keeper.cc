#include "clusteragent/uplink/uplink_keeper.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "common/drift/repair_text.h"
#include "common/netlink/conntrack.h"
#include "common/nftables/timeout_probe.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kCompareInterval = std::chrono::seconds(30);
constexpr int kFlowsPause = 4;  // after looking, in its own length
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

// Those of `targets` that no mapping leads to.
std::set<IpAddress> WithoutMappings(std::set<IpAddress> targets,
                                    const Plan& plan) {
  for (const EdgePlan& edge : plan.edges) {
    for (const PlannedMapping& mapping : edge.mappings) {
      for (const SocketAddress& endpoint : mapping.backend.endpoints) {
        if (targets.empty()) return targets;
        targets.erase(endpoint.address);
      }
    }
  }
  return targets;
}

}  // namespace

UplinkKeeper::UplinkKeeper(EventLoop& loop, Owner& owner, Kernel kernel,
                           const Options& options)
    : loop_(loop),
      owner_(owner),
      name_(options.uplink),
      mark_mask_(options.mark_mask),
      kernel_(std::move(kernel)),
      uplink_(*kernel_.nft, *kernel_.wireguard, kernel_.rtnetlink,
              options.devices,
              [this](const std::vector<std::string>& devices) {
                owner_.KeepDevices(devices);
                return absl::OkStatus();
              }),
      switched_links_(options.switched_links) {
  if (auto conntrack = netlink::Conntrack::Open(); conntrack.ok()) {
    flows_.emplace(*std::move(conntrack));
  } else {
    spdlog::warn("{}: UDP flows keep their old targets",
                 Message(conntrack.status()));
  }
  if (auto why = nftables::WhyNoTimeouts(*kernel_.nft); why.ok()) {
    has_timeouts_ = why->empty();
    no_timeouts_ = *std::move(why);
  } else {
    spdlog::warn("{}", Message(why.status()));
  }
}

absl::Status UplinkKeeper::Observe() {
  ASSIGN_OR_RETURN(host_, uplink_.Observe());
  return absl::OkStatus();
}

absl::StatusOr<UplinkInput> UplinkKeeper::GatherInput(
    std::map<std::string, EdgeAccess> access) {
  UplinkInput input{.uplink = name_,
                    .access = std::move(access),
                    .forwarding_everywhere = host_->forwarding_everywhere,
                    .ipv6 = host_->ipv6,
                    .without_default = host_->without_default,
                    .local_addresses = host_->local_addresses,
                    .mark_mask = mark_mask_,
                    .user = ::geteuid(),
                    .has_timeouts = has_timeouts_};
  std::set<IpAddress> targets;
  for (const EdgePlan& edge : carried_.edges) targets.merge(TargetsOf(edge));
  ASSIGN_OR_RETURN(Uplink::TargetRoutes routes, uplink_.RoutesTo(targets));
  nowhere_.clear();
  for (const auto& [target, why] : routes.nowhere) nowhere_.insert(target);
  uplink_.TellNowhere(std::move(routes.nowhere));
  target_links_ = std::move(routes.links);
  input.target_links = std::move(routes.used);
  ASSIGN_OR_RETURN(input.switched_links, uplink_.Find(switched_links_));
  return input;
}

absl::Status UplinkKeeper::Apply(std::vector<EdgePlan> edges,
                                 std::map<std::string, EdgeAccess> access) {
  begun_ = SteadyClock::now();
  carried_.edges = std::move(edges);
  ASSIGN_OR_RETURN(input_, GatherInput(std::move(access)));
  ASSIGN_OR_RETURN(UplinkPlan plan, MakeUplinkPlan(carried_, input_));
  RememberSwitched(plan);
  // What others change is repaired as soon as the kernel tells of it; now and
  // then a plan looks for what it did not.
  const bool is_due = begun_ - compared_ >= kCompareInterval;
  const auto compare = is_due || compare_all_ || !applied_
                           ? Uplink::Compare::kAll
                           : Uplink::Compare::kChanged;
  const Uplink::Outcome outcome = uplink_.Apply(plan, compare);
  if (compare == Uplink::Compare::kAll) compared_ = begun_;
  compare_all_ = false;
  ConcludePlan(std::move(plan), outcome);
  TellCarried(outcome);
  // One device that fails keeps no flow from its target: the table stands where
  // the rules do.
  flows_stand_ = outcome.returns;
  DeleteStaleFlows();
  RETURN_IF_ERROR(outcome.status);
  ForgetSwitchedBack(plan_);
  return absl::OkStatus();
}

bool UplinkKeeper::Step(std::vector<EdgePlan> edges) {
  // Whatever it is that stands in the way, the whole is compared.
  const auto whole = [this] {
    compare_all_ = true;
    return false;
  };
  std::vector<EdgeStep> steps;
  for (const EdgePlan& edge : edges) {
    const EdgePlan* before = carried_.Edge(edge.edge);
    if (before == nullptr) return whole();
    if (*before != edge) steps.push_back({before, &edge});
  }
  if (steps.empty()) return true;
  const auto step = UplinkStep::Make(steps, input_, plan_);
  if (!step || !FindTargets(steps)) return whole();
  if (!step->change().empty()) {
    // Where others have changed what it rests on, it fails.
    if (!kernel_.nft->Apply(step->change()).ok()) return whole();
    step->TakeInto(plan_);
    spdlog::info("uplink: {}", Summary(step->change()));
  }
  std::set<IpAddress> left;
  for (const EdgeStep& edge : steps) {
    std::ranges::set_difference(TargetsOf(*edge.before), TargetsOf(*edge.after),
                                std::inserter(left, left.end()));
  }
  std::set<std::string> stepped;
  for (EdgePlan& edge : edges) {
    stepped.insert(edge.edge);
    const auto held =
        std::ranges::find(carried_.edges, edge.edge, &EdgePlan::edge);
    *held = std::move(edge);
  }
  ForgetTargets(WithoutMappings(std::move(left), carried_));
  DeleteStaleFlows();
  for (const UplinkDevice& device : plan_.devices) {
    const bool is_there = devices_.contains(device.wireguard.name);
    if (is_there && stepped.contains(device.edge)) owner_.CarryOn(device.edge);
  }
  return true;
}

// What a plan that is as before had to write was changed by somebody.
void UplinkKeeper::ConcludePlan(UplinkPlan plan,
                                const Uplink::Outcome& outcome) {
  // A link that leads to no target any more is guarded until it is switched
  // back: the plan that does so is ours, though its table is as before.
  const bool switches_back = std::ranges::any_of(
      plan.links, [](const LinkConf& link) { return !link.forwarding; });
  const bool as_before = applied_ && !switches_back &&
                         plan.devices == plan_.devices &&
                         plan.rules == plan_.rules && plan.table == plan_.table;
  plan_ = std::move(plan);
  applied_ = outcome.status.ok();
  if (applied_ && unrepaired_) {
    Unrepaired unrepaired = *std::exchange(unrepaired_, std::nullopt);
    Conclude(std::move(unrepaired.drift), outcome, unrepaired.since);
  } else if (as_before && applied_) {
    Conclude(DriftUnderPlan(), outcome, begun_);
  } else if (!outcome.written.empty()) {
    spdlog::info("uplink: {}", outcome.written);
  }
}

void UplinkKeeper::TellCarried(const Uplink::Outcome& outcome) {
  devices_ = outcome.devices;
  if (!outcome.returns) return;
  for (const UplinkDevice& device : plan_.devices) {
    const auto link = devices_.find(device.wireguard.name);
    if (link != devices_.end()) owner_.Carry(device, link->second);
  }
}

// False where one is reached over a link that no target was reached over: it
// has to forward, and be guarded.
bool UplinkKeeper::FindTargets(const std::vector<EdgeStep>& edges) {
  std::set<IpAddress> added;
  for (const EdgeStep& edge : edges) {
    for (const IpAddress& target : TargetsOf(*edge.after)) {
      // A route to one that had none is a reason to plan everything.
      if (target_links_.contains(target) || nowhere_.contains(target)) continue;
      added.insert(target);
    }
  }
  if (added.empty()) return true;
  const auto routes = uplink_.RoutesTo(added);
  if (!routes.ok() || !routes->nowhere.empty()) return false;
  for (const TargetLink& link : routes->used) {
    const bool known = std::ranges::any_of(
        input_.target_links, [&link](const TargetLink& other) {
          return other.name == link.name && other.family == link.family;
        });
    if (!known) return false;
  }
  target_links_.insert(routes->links.begin(), routes->links.end());
  return true;
}

// A link that led to no other target need not forward any more.
void UplinkKeeper::ForgetTargets(const std::set<IpAddress>& targets) {
  for (const IpAddress& target : targets) {
    const auto found = target_links_.find(target);
    if (found == target_links_.end()) continue;
    const std::string link = found->second;
    target_links_.erase(found);
    const bool is_used =
        std::ranges::any_of(target_links_, [&](const auto& other) {
          return other.second == link &&
                 other.first.family() == target.family();
        });
    if (!link.empty() && !is_used) owner_.PlanSoon();
  }
}

void UplinkKeeper::DeleteStaleFlows() {
  loop_.Cancel(std::exchange(flows_timer_, 0));
  if (!flows_ || !flows_stand_) return;
  const auto begun = SteadyClock::now();
  if (begun < flows_after_) {
    flows_timer_ = loop_.After(
        std::chrono::ceil<std::chrono::milliseconds>(flows_after_ - begun),
        [this] { DeleteStaleFlows(); });
    return;
  }
  const auto deleted = flows_->DeleteStale(plan_.flows);
  if (!deleted.ok()) {
    spdlog::warn("stale flows: {}; trying again", Message(deleted.status()));
    flows_timer_ = loop_.After(kFlowsAgain, [this] { DeleteStaleFlows(); });
  } else if (*deleted > 0) {
    spdlog::info("stale flows: {} deleted", *deleted);
  }
  const auto ended = SteadyClock::now();
  flows_after_ = ended + kFlowsPause * (ended - begun);
}

// Before a link is made to forward, its name is on disk: whatever happens, it
// stays guarded until it is switched back.
void UplinkKeeper::RememberSwitched(const UplinkPlan& plan) {
  std::set<SwitchedLink> links = switched_links_;
  for (const LinkConf& link : plan.links) {
    if (link.forwarding) links.insert(link.link);
  }
  if (links != switched_links_) KeepSwitched(std::move(links));
}

void UplinkKeeper::ForgetSwitchedBack(const UplinkPlan& plan) {
  std::set<SwitchedLink> links = switched_links_;
  for (const LinkConf& link : plan.links) {
    if (!link.forwarding) links.erase(link.link);
  }
  if (links == switched_links_) return;
  KeepSwitched(std::move(links));
  owner_.PlanSoon();  // the guard of these links goes with the next plan
}

void UplinkKeeper::KeepSwitched(std::set<SwitchedLink> links) {
  switched_links_ = std::move(links);
  owner_.KeepSwitched(switched_links_);
}

}  // namespace edged::agent
