#include "clusteragent/agent.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <utility>

#include "clusteragent/core/uplink_plan.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

constexpr auto kPlanDelay = milliseconds(5);
constexpr auto kTellDelay = milliseconds(20);
constexpr auto kResyncInterval = std::chrono::seconds(30);
constexpr auto kMissingGrace = std::chrono::seconds(1);

// "22/tcp" as the edge tells it; unknown forms of a newer edge are left out.
std::optional<ReservedPort> ParseReserved(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const int port = std::atoi(text.c_str());
  if (port < 1 || port > 65535) return std::nullopt;
  const std::string protocol = text.substr(slash + 1);
  if (protocol != "tcp" && protocol != "udp") return std::nullopt;
  return ReservedPort{protocol == "udp" ? Protocol::kUdp : Protocol::kTcp,
                      static_cast<uint16_t>(port)};
}

std::vector<IpAddress> TargetsOf(const Plan& plan) {
  std::set<IpAddress> targets;
  for (const EdgePlan& edge : plan.edges) {
    for (const PlannedMapping& mapping : edge.mappings) {
      targets.insert(mapping.target.address);
    }
  }
  return {targets.begin(), targets.end()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(
    const AgentOptions& options) {
  const StateFolder state(options.state);
  ASSIGN_OR_RETURN(FileLock lock, state.LockForAgent());
  ASSIGN_OR_RETURN(NamespaceLock namespace_lock,
                   NamespaceLock::Take("clusteragent"));
  RETURN_IF_ERROR(MakeFolders(options.state + "/tokens"));
  RETURN_IF_ERROR(ListFolder(options.manifests).status());
  RETURN_IF_ERROR(MarkMask::Create(options.mark_mask).status());
  ASSIGN_OR_RETURN(auto nft, nftables::Client::Open());
  ASSIGN_OR_RETURN(auto wireguard,
                   wireguard::OpenClient(wireguard::BackendChoice::kAuto,
                                         options.wireguard_program));
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(auto events, netlink::RouteEvents::Open());
  ASSIGN_OR_RETURN(auto loop, EventLoop::Create());
  ASSIGN_OR_RETURN(ClusterIdentity identity, state.Identity());
  ASSIGN_OR_RETURN(const uint64_t epoch, state.NextEpoch());
  std::unique_ptr<Agent> agent(new Agent(
      options, std::move(loop), std::move(lock), std::move(namespace_lock),
      Kernel{std::move(nft), std::move(wireguard), std::move(rtnetlink),
             std::move(events)},
      std::move(identity), epoch));
  RETURN_IF_ERROR(agent->Begin());
  return agent;
}

Agent::Agent(const AgentOptions& options, std::unique_ptr<EventLoop> loop,
             FileLock lock, NamespaceLock namespace_lock, Kernel kernel,
             ClusterIdentity identity, uint64_t epoch)
    : options_(options),
      loop_(std::move(loop)),
      lock_(std::move(lock)),
      namespace_lock_(std::move(namespace_lock)),
      kernel_(std::move(kernel)),
      state_(options.state),
      identity_(std::move(identity)),
      epoch_(epoch),
      source_(options.manifests),
      uplink_(*kernel_.nft, *kernel_.wireguard, kernel_.rtnetlink,
              state_.LoadDevices(),
              [this](const std::vector<std::string>& devices) {
                return state_.SaveDevices(devices);
              }),
      resolver_(*loop_),
      switched_links_(state_.LoadSwitchedLinks()),
      backoff_(milliseconds(250), std::chrono::seconds(10)) {}

Agent::~Agent() = default;

absl::Status Agent::Begin() {
  for (const int signal : {SIGTERM, SIGINT}) {
    RETURN_IF_ERROR(loop_->OnSignal(signal, [this, signal] {
      spdlog::info("signal {}: stopping; the kernel goes on", signal);
      loop_->Stop();
    }));
  }
  RETURN_IF_ERROR(loop_->Watch(kernel_.events.fd(), EPOLLIN,
                               [this](uint32_t) { OnRouteEvents(); }));
  RETURN_IF_ERROR(WatchFolders());
  loop_->Every(kResyncInterval, [this] { PlanSoon(); });
  spdlog::info("cluster {}, uplink {}, epoch {}, {} WireGuard", identity_.uid,
               options_.uplink_name, epoch_,
               wireguard::ToString(kernel_.wireguard->backend()));
  PlanAll();
  return absl::OkStatus();
}

absl::Status Agent::WatchFolders() {
  ASSIGN_OR_RETURN(
      manifests_watch_,
      FolderWatch::Start(*loop_, options_.manifests, [this] { PlanSoon(); }));
  ASSIGN_OR_RETURN(tokens_watch_,
                   FolderWatch::Start(*loop_, options_.state + "/tokens",
                                      [this] { PlanSoon(); }));
  return absl::OkStatus();
}

absl::Status Agent::Run() {
  loop_->Run();
  links_.clear();
  return absl::OkStatus();
}

void Agent::OnRouteEvents() {
  bool foreign = false;
  const uint32_t own = kernel_.rtnetlink.socket().port();
  const absl::Status status =
      kernel_.events.Read([&foreign, own](const netlink::RouteEvent& event) {
        foreign = foreign || event.port != own;
      });
  if (foreign || absl::IsUnavailable(status)) PlanSoon();
}

// ---- planning ----

void Agent::PlanSoon() {
  if (plan_timer_ != 0) return;
  plan_timer_ = loop_->After(kPlanDelay, [this] { PlanAll(); });
}

void Agent::PlanAll() {
  loop_->Cancel(std::exchange(plan_timer_, 0));
  loop_->Cancel(std::exchange(retry_timer_, 0));
  const absl::Status status = TryPlanAll();
  if (status.ok()) {
    backoff_.Reset();
  } else {
    spdlog::log(missing_since_ ? spdlog::level::info : spdlog::level::err,
                "{}; trying again", Message(status));
    retry_timer_ = loop_->After(backoff_.Next(), [this] { PlanAll(); });
  }
  TellSoon();
}

absl::Status Agent::TryPlanAll() {
  auto plan = MakePlanNow();
  if (!plan.ok()) return Annotate(plan.status(), "planning");
  plan_ = *std::move(plan);
  std::erase_if(links_, [this](const auto& entry) {
    return plan_.Edge(entry.first) == nullptr;
  });
  for (const EdgePlan& edge : plan_.edges) LinkOf(edge.edge).Follow(edge);
  carried_ = WithLingering(plan_);
  return Annotate(ApplyUplink(), "uplink");
}

EdgeLink& Agent::LinkOf(const std::string& edge) {
  std::unique_ptr<EdgeLink>& link = links_[edge];
  if (!link) {
    link = std::make_unique<EdgeLink>(
        EdgeLink::Context{*loop_, state_, resolver_, uplink_,
                          options_.uplink_name, identity_.control_key,
                          Epoch{identity_.uid, epoch_}},
        edge, [this] { PlanSoon(); },
        [this] {
          // What only the edge still had may have gone.
          if (carried_ != plan_) PlanSoon();
          TellSoon();
        });
  }
  return *link;
}

absl::StatusOr<Facts> Agent::GatherFacts() {
  ASSIGN_OR_RETURN(UplinkHost host, uplink_.Observe());
  Facts facts;
  facts.cluster_uid = identity_.uid;
  facts.own_uplink = options_.uplink_name;
  facts.local_addresses = std::move(host.local_addresses);
  facts.host_routes = std::move(host.routes);
  facts.mark_mask = options_.mark_mask;
  UplinkFacts& own = facts.uplinks.emplace_back();
  own.name = options_.uplink_name;
  for (const auto& [name, link] : links_) {
    own.keys.emplace(name, link->own_key());
    EdgeFacts& edge = facts.edges[name];
    edge.enrolled = link->enrolled();
    if (!link->syncer()) continue;
    const auto& reserved = link->syncer()->progress().reserved_ports;
    if (!link->syncer()->progress().edge_version.empty()) {
      edge.reserved_ports.clear();
    }
    for (const std::string& text : reserved) {
      if (const auto port = ParseReserved(text)) {
        edge.reserved_ports.push_back(*port);
      }
    }
  }
  return facts;
}

// Whoever replaces a file by another one may leave nothing there for a moment.
bool Agent::IsJustMissing(const Snapshot& snapshot) {
  const auto now = std::chrono::steady_clock::now();
  const bool missing = std::ranges::any_of(links_, [&](const auto& entry) {
    return std::ranges::none_of(snapshot.world.edge_nodes,
                                [&entry](const EdgeNode& node) {
                                  return node.meta.name == entry.first;
                                });
  });
  if (!missing) {
    missing_since_.reset();
    return false;
  }
  if (!missing_since_) missing_since_ = now;
  if (now - *missing_since_ >= kMissingGrace) {
    missing_since_.reset();
    return false;
  }
  return true;
}

absl::StatusOr<Plan> Agent::MakePlanNow() {
  Snapshot snapshot = source_.Read();
  if (IsJustMissing(snapshot)) {
    return Unavailable("an EdgeNode has just gone; its tunnel stays a moment");
  }
  for (const std::string& error : snapshot.errors) {
    if (std::ranges::find(told_errors_, error) == told_errors_.end()) {
      spdlog::error("{}", error);
    }
  }
  told_errors_ = std::move(snapshot.errors);
  for (const EdgeNode& node : snapshot.world.edge_nodes) LinkOf(node.meta.name);
  ASSIGN_OR_RETURN(Facts facts, GatherFacts());
  facts.world_is_partial = !told_errors_.empty();
  Allocation allocation;
  RETURN_IF_ERROR(state_
                      .UpdateRecords([&](const Records& records) {
                        allocation = Allocate(records, snapshot.world, facts);
                        return allocation.records;
                      })
                      .status());
  return MakePlan(snapshot.world, allocation, facts);
}

Plan Agent::WithLingering(const Plan& plan) const {
  Plan whole = plan;
  for (EdgePlan& edge : whole.edges) {
    const EdgePlan* before = carried_.Edge(edge.edge);
    const auto link = links_.find(edge.edge);
    if (!before || link == links_.end() || !link->second->syncer()) continue;
    const auto& answered = link->second->syncer()->progress().answered;
    if (!answered || *answered == edge.wanted) continue;
    std::set<protocol::Listener> known;
    for (const auto& mapping : edge.wanted.mappings) {
      known.insert(mapping.listener);
    }
    std::set<protocol::Listener> at_edge;
    for (const auto& mapping : answered->mappings) {
      at_edge.insert(mapping.listener);
    }
    for (const PlannedMapping& mapping : before->mappings) {
      const protocol::Listener& listener = mapping.mapping.listener;
      const bool crosses = std::ranges::any_of(
          edge.mappings, [&listener](const PlannedMapping& other) {
            return other.mapping.listener.Overlaps(listener);
          });
      if (!known.contains(listener) && at_edge.contains(listener) && !crosses) {
        edge.mappings.push_back(mapping);
      }
    }
    std::ranges::sort(edge.mappings, {}, [](const PlannedMapping& mapping) {
      return mapping.mapping.listener;
    });
  }
  return whole;
}

absl::Status Agent::ApplyUplink() {
  UplinkInput input;
  input.uplink = options_.uplink_name;
  input.mark_mask = options_.mark_mask;
  for (const auto& [name, link] : links_) input.access[name] = link->access();
  ASSIGN_OR_RETURN(input.target_links, uplink_.LinksTo(TargetsOf(carried_)));
  ASSIGN_OR_RETURN(const UplinkHost host, uplink_.Observe());
  input.forwarding_everywhere = host.forwarding_everywhere;
  ASSIGN_OR_RETURN(input.switched_links, uplink_.LinksNamed(switched_links_));
  ASSIGN_OR_RETURN(const UplinkPlan uplink_plan,
                   MakeUplinkPlan(carried_, input));
  RETURN_IF_ERROR(RememberSwitched(uplink_plan));
  const Uplink::Outcome outcome = uplink_.Apply(uplink_plan);
  for (const UplinkDevice& device : uplink_plan.devices) {
    const auto link = outcome.devices.find(device.wireguard.name);
    if (link == outcome.devices.end()) continue;
    LinkOf(device.edge).Carry(device.wireguard.name, link->second);
  }
  RETURN_IF_ERROR(outcome.status);
  return ForgetSwitchedBack(uplink_plan);
}

// Before a link is made to forward, its name is on disk: whatever happens, it
// stays guarded until it is switched back.
absl::Status Agent::RememberSwitched(const UplinkPlan& plan) {
  std::set<std::string> links = switched_links_;
  for (const LinkConf& link : plan.links) {
    if (link.conf.forwarding) links.insert(link.link);
  }
  if (links == switched_links_) return absl::OkStatus();
  switched_links_ = std::move(links);
  return state_.SaveSwitchedLinks(switched_links_);
}

absl::Status Agent::ForgetSwitchedBack(const UplinkPlan& plan) {
  std::set<std::string> links = switched_links_;
  for (const LinkConf& link : plan.links) {
    if (!link.conf.forwarding) links.erase(link.link);
  }
  if (links == switched_links_) return absl::OkStatus();
  switched_links_ = std::move(links);
  PlanSoon();  // the guard of these links goes with the next plan
  return state_.SaveSwitchedLinks(switched_links_);
}

// ---- telling ----

void Agent::TellSoon() {
  if (tell_timer_ != 0) return;
  tell_timer_ = loop_->After(kTellDelay, [this] { Tell(); });
}

void Agent::Tell() {
  tell_timer_ = 0;
  EdgeReports reports;
  for (const auto& [name, link] : links_) reports[name] = link->Report();
  if (told_errors_ != saved_errors_) {
    saved_errors_ = told_errors_;
    if (const auto status = state_.SaveErrors(told_errors_); !status.ok()) {
      spdlog::error("status files: {}", Message(status));
    }
  }
  const std::vector<ObjectStatus> statuses = MakeStatus(plan_, reports);
  if (const absl::Status status = state_.SaveStatuses(statuses); !status.ok()) {
    spdlog::error("status files: {}", Message(status));
  }
  std::map<std::string, std::string> ready;
  for (const ObjectStatus& status : statuses) {
    const Condition* condition = status.Find("Ready");
    if (!condition) continue;
    std::string text =
        fmt::format("Ready={} {} {}", ToString(condition->status),
                    condition->reason, condition->message);
    const std::string object = status.object.ToString();
    if (told_ready_[object] != text) spdlog::info("{}: {}", object, text);
    ready[object] = std::move(text);
  }
  told_ready_ = std::move(ready);
}

}  // namespace edged::agent
