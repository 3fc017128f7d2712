#include "clusteragent/agent.h"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <utility>

#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/manifest_control_plane.h"
#include "common/nftables/timeout_probe.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kPlanDelay = milliseconds(5);
constexpr auto kTellDelay = milliseconds(20);
// Until the tunnels of the process before are up again.
constexpr auto kStarting = std::chrono::seconds(5);
// Until an edge has answered whoever leads now.
constexpr auto kSettling = std::chrono::seconds(3);
constexpr auto kFlowsAgain = std::chrono::seconds(1);  // after a failure
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
      for (const SocketAddress& endpoint : mapping.backend.endpoints) {
        targets.insert(endpoint.address);
      }
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
  RETURN_IF_ERROR(MarkMask::Create(options.mark_mask).status());
  ASSIGN_OR_RETURN(auto nft, nftables::Client::Open());
  ASSIGN_OR_RETURN(auto wireguard,
                   wireguard::OpenClient(wireguard::BackendChoice::kAuto,
                                         options.wireguard_program));
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(auto loop, EventLoop::Create());
  std::unique_ptr<Agent> agent(new Agent(
      options, std::move(loop), std::move(lock), std::move(namespace_lock),
      Kernel{std::move(nft), std::move(wireguard), std::move(rtnetlink)}));
  RETURN_IF_ERROR(agent->Begin());
  return agent;
}

Agent::Agent(const AgentOptions& options, std::unique_ptr<EventLoop> loop,
             FileLock lock, NamespaceLock namespace_lock, Kernel kernel)
    : options_(options),
      loop_(std::move(loop)),
      lock_(std::move(lock)),
      namespace_lock_(std::move(namespace_lock)),
      kernel_(std::move(kernel)),
      state_(options.state),
      keeper_(*loop_),
      uplink_(*kernel_.nft, *kernel_.wireguard, kernel_.rtnetlink,
              state_.LoadDevices(),
              [this](const std::vector<std::string>& devices) {
                keeper_.Keep("devices", [this, devices] {
                  return state_.SaveDevices(devices);
                });
                return absl::OkStatus();
              }),
      resolver_(*loop_, AskSystem),
      switched_links_(state_.LoadSwitchedLinks()),
      backoff_(milliseconds(250), std::chrono::seconds(10)) {}

Agent::~Agent() = default;

absl::Status Agent::Begin() {
  for (const int signal : {SIGTERM, SIGINT}) {
    RETURN_IF_ERROR(loop_->OnSignal(signal, [this, signal] { Stop(signal); }));
  }
  if (auto conntrack = netlink::Conntrack::Open(); conntrack.ok()) {
    flows_.emplace(*std::move(conntrack));
  } else {
    spdlog::warn("{}: UDP flows keep their old targets",
                 Message(conntrack.status()));
  }
  if (auto why = nftables::WhyNoTimeouts(*kernel_.nft); why.ok()) {
    no_timeouts_ = *std::move(why);
  } else {
    spdlog::warn("{}", Message(why.status()));
  }
  StartWatching();
  RETURN_IF_ERROR(OpenControlPlane());
  RETURN_IF_ERROR(control_plane_->Start([this] {
    FollowTerm();
    PlanSoon();
  }));
  spdlog::info("uplink {}, {} WireGuard", options_.uplink_name,
               wireguard::ToString(kernel_.wireguard->backend()));
  FollowTerm();
  PlanAll();
  loop_->After(kStarting + kTellDelay, [this] { TellSoon(); });
  return absl::OkStatus();
}

absl::Status Agent::OpenControlPlane() {
  if (!options_.kube) {
    control_plane_ = std::make_unique<ManifestControlPlane>(
        *loop_, state_, keeper_, options_.manifests);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(auto plane,
                   KubeControlPlane::Create(*loop_, *options_.kube));
  const KubeControlPlane* raw = plane.get();
  control_plane_ = std::move(plane);
  const auto serve = [this](const std::string& text, ProbeServer::Pages pages,
                            std::unique_ptr<ProbeServer>& server) {
    if (text.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const SocketAddress address, ParseBindAddress(text));
    ASSIGN_OR_RETURN(server,
                     ProbeServer::Start(*loop_, address, std::move(pages)));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(serve(
      options_.health_address,
      {{"/healthz",
        [] {
          return ProbePage{200, "ok\n"};
        }},
       {"/readyz",
        [raw] {
          const std::vector<std::string> why = raw->NotReady();
          if (why.empty()) return ProbePage{200, "ok\n"};
          return ProbePage{503, fmt::format("{}\n", fmt::join(why, "\n"))};
        }}},
      probes_));
  return serve(options_.metrics_address,
               {{"/metrics",
                 [this] {
                   return ProbePage{200, Metrics()};
                 }}},
               metrics_);
}

// In the format of Prometheus.
std::string Agent::Metrics() const {
  size_t up = 0;
  for (const auto& [name, link] : links_) up += link->Report().tunnel_up;
  size_t mappings = 0;
  for (const EdgePlan& edge : plan_.edges) mappings += edge.mappings.size();
  size_t ready = 0;
  for (const auto& [object, text] : told_ready_) {
    ready += text.starts_with("Ready=True");
  }
  std::string page;
  const auto gauge = [&page](std::string_view name, std::string_view help,
                             size_t value) {
    page += fmt::format(
        "# HELP clusteragent_{0} {1}\n# TYPE clusteragent_{0} gauge\n"
        "clusteragent_{0} {2}\n",
        name, help, value);
  };
  gauge("leader", "Whether this replica leads.", epoch_ ? 1 : 0);
  gauge("edges", "Edges that are served.", plan_.edges.size());
  gauge("tunnels_up", "Edges whose tunnel is up from here.", up);
  gauge("mappings", "Listeners that are wanted on all edges.", mappings);
  gauge("objects", "Objects that have a status.", told_ready_.size());
  gauge("objects_ready", "Those that are Ready.", ready);
  gauge("uplink_applied", "Whether this host is as planned.", applied_ ? 1 : 0);
  return page;
}

// The second signal does not wait.
void Agent::Stop(int signal) {
  if (std::exchange(stopping_, true) || !control_plane_->drains()) {
    spdlog::info("signal {}: stopping; the kernel goes on", signal);
    loop_->Stop();
    return;
  }
  spdlog::info("signal {}: draining", signal);
  for (const auto& [name, link] : links_) link->Drain();
  Tell();
  control_plane_->Stop([this] { loop_->Stop(); });
}

void Agent::FollowTerm() {
  const auto epoch = control_plane_->epoch();
  if (epoch == epoch_) return;
  epoch_ = epoch;
  term_began_ = SteadyClock::now();
  loop_->After(kSettling + kTellDelay, [this] { TellSoon(); });
  if (epoch_) {
    spdlog::info("leading cluster {} in term {}", epoch_->cluster_uid,
                 epoch_->number);
  } else {
    spdlog::info("not leading any more");
  }
  for (const auto& [name, link] : links_) link->FollowTerm();
}

absl::Status Agent::Run() {
  loop_->Run();
  links_.clear();
  return absl::OkStatus();
}

// ---- planning ----

void Agent::PlanSoon() {
  if (plan_timer_ != 0) return;
  plan_timer_ = loop_->After(kPlanDelay, [this] { PlanAll(); });
}

void Agent::PlanAll() {
  loop_->Cancel(std::exchange(plan_timer_, 0));
  loop_->Cancel(std::exchange(retry_timer_, 0));
  if (!control_plane_->ready()) return;
  planned_ = std::chrono::steady_clock::now();
  const absl::Status status = TryPlanAll();
  trouble_ = std::string(Message(status));
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
        EdgeLink::Context{*loop_, state_, resolver_, uplink_, *control_plane_,
                          options_.uplink_name},
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
  facts.cluster_uid = control_plane_->identity().uid;
  facts.own_uplink = options_.uplink_name;
  facts.local_addresses = std::move(host.local_addresses);
  facts.host_routes = std::move(host.routes);
  facts.ipv6 = std::move(host.ipv6_trouble);
  facts.no_timeouts = no_timeouts_;
  facts.mark_mask = options_.mark_mask;
  UplinkFacts& own = facts.uplinks.emplace_back();
  own.name = options_.uplink_name;
  own.labels = control_plane_->own_labels();
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
  for (UplinkFacts& other : control_plane_->other_uplinks()) {
    facts.uplinks.push_back(std::move(other));
  }
  return facts;
}

void Agent::TellErrors() {
  const std::vector<std::string>& errors = control_plane_->snapshot().errors;
  for (const std::string& error : errors) {
    if (std::ranges::find(told_errors_, error) == told_errors_.end()) {
      spdlog::error("{}", error);
    }
  }
  told_errors_ = errors;
}

// Whoever replaces a file by another one may leave nothing there for a moment.
bool Agent::IsJustMissing() {
  if (!control_plane_->may_flicker()) return false;
  const World& world = control_plane_->snapshot().world;
  const auto now = std::chrono::steady_clock::now();
  const bool missing = std::ranges::any_of(links_, [&](const auto& entry) {
    return std::ranges::none_of(world.edge_nodes,
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
  if (IsJustMissing()) {
    return Unavailable("an EdgeNode has just gone; its tunnel stays a moment");
  }
  TellErrors();
  const Snapshot& snapshot = control_plane_->snapshot();
  for (const EdgeNode& node : snapshot.world.edge_nodes) {
    LinkOf(node.meta.name);
  }
  ASSIGN_OR_RETURN(Facts facts, GatherFacts());
  facts.world_is_partial = snapshot.partial;
  ASSIGN_OR_RETURN(const Allocation allocation,
                   control_plane_->AllocateFor(facts));
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
  input.user = ::geteuid();
  for (const auto& [name, link] : links_) input.access[name] = link->access();
  ASSIGN_OR_RETURN(input.target_links, uplink_.LinksTo(TargetsOf(carried_)));
  ASSIGN_OR_RETURN(const UplinkHost host, uplink_.Observe());
  input.forwarding_everywhere = host.forwarding_everywhere;
  input.ipv6 = host.ipv6;
  input.without_default = host.without_default;
  input.local_addresses = host.local_addresses;
  ASSIGN_OR_RETURN(input.switched_links, uplink_.Find(switched_links_));
  ASSIGN_OR_RETURN(const UplinkPlan uplink_plan,
                   MakeUplinkPlan(carried_, input));
  RememberSwitched(uplink_plan);
  const Uplink::Outcome outcome = uplink_.Apply(uplink_plan);
  ConcludePlan(uplink_plan, outcome);
  Carry(outcome);
  // One device that fails keeps no flow from its target: the table stands where
  // the rules do.
  flows_stand_ = outcome.returns;
  DeleteStaleFlows();
  RETURN_IF_ERROR(outcome.status);
  ForgetSwitchedBack(uplink_plan);
  return absl::OkStatus();
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

// ---- telling ----

void Agent::TellSoon() {
  if (tell_timer_ != 0) return;
  tell_timer_ = loop_->After(kTellDelay, [this] { Tell(); });
}

bool Agent::IsSettled() const {
  if (SteadyClock::now() - term_began_ >= kSettling) return true;
  return std::ranges::none_of(links_, [](const auto& entry) {
    const EdgeLink& link = *entry.second;
    return link.registered() &&
           (!link.syncer() || !link.syncer()->progress().answered);
  });
}

void Agent::Tell() {
  tell_timer_ = 0;
  if (!control_plane_->ready()) return;
  EdgeReports reports;
  for (const auto& [name, link] : links_) reports[name] = link->Report();
  std::vector<ObjectStatus> statuses = MakeStatus(plan_, reports);
  for (const InvalidObject& invalid : control_plane_->snapshot().invalid) {
    TellInvalid(invalid.object, invalid.generation, invalid.message, statuses);
  }
  Telling telling{
      plan_,
      statuses,
      told_errors_,
      {},
      {},
      MakeUplinkStatus(plan_, reports,
                       {.applied = applied_,
                        .trouble = trouble_,
                        .draining = stopping_,
                        .starting = SteadyClock::now() - began_ < kStarting})};
  for (const auto& [name, link] : links_) {
    telling.own_keys[name] = link->own_key();
    if (link->registered()) telling.joined[name] = link->enrolment();
  }
  telling.settled = IsSettled();
  control_plane_->Tell(telling);
  std::map<std::string, std::string> ready;
  for (const ObjectStatus& status : statuses) {
    const Condition* condition = status.Find("Ready");
    if (!condition) continue;
    std::string text =
        fmt::format("Ready={} {} {}", ToString(condition->status),
                    condition->reason, condition->message);
    const std::string object = status.object.ToString();
    // Who does not lead does not know.
    if (epoch_ && told_ready_[object] != text) {
      spdlog::info("{}: {}", object, text);
    }
    ready[object] = std::move(text);
  }
  told_ready_ = std::move(ready);
}

}  // namespace edged::agent
