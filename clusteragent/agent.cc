#include "clusteragent/agent.h"

#include <fmt/ranges.h>
#include <malloc.h>
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
// What reading, planning and telling everything took goes back to the kernel.
constexpr auto kTrimInterval = std::chrono::seconds(30);
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
  RETURN_IF_ERROR(control_plane_->Start(
      [this] {
        FollowTerm();
        FollowChangesSoon();
      },
      [this] {
        if (plan_timer_ == 0) TellSoon();  // else after the plan
      }));
  spdlog::info("uplink {}, {} WireGuard", options_.uplink_name,
               wireguard::ToString(kernel_.wireguard->backend()));
  FollowTerm();
  PlanNow();
  loop_->After(kStarting + kTellDelay, [this] { TellSoon(); });
  loop_->Every(kTrimInterval, [] { malloc_trim(0); });
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

void Agent::FollowChangesSoon() {
  if (plan_timer_ != 0) return;
  // A plan of everything takes half of the time at most, however often there is
  // a reason for one.
  const auto delay =
      whole_ ? std::max<SteadyClock::duration>(kPlanDelay, took_) : kPlanDelay;
  plan_timer_ = loop_->After(std::chrono::ceil<milliseconds>(delay),
                             [this] { PlanNow(); });
}

void Agent::PlanSoon() {
  whole_ = true;
  FollowChangesSoon();
}

void Agent::PlanNow() {
  loop_->Cancel(std::exchange(plan_timer_, 0));
  loop_->Cancel(std::exchange(retry_timer_, 0));
  if (!control_plane_->ready()) return;
  planned_ = std::chrono::steady_clock::now();
  // What asks for everything meanwhile gets it with the next plan.
  const bool whole = std::exchange(whole_, false) || !applied_ ||
                     control_plane_->objects().changes().everything;
  const absl::Status status = TryPlan(whole);
  if (whole) took_ = SteadyClock::now() - planned_;
  trouble_ = std::string(Message(status));
  if (status.ok()) {
    backoff_.Reset();
  } else {
    whole_ = true;
    spdlog::log(missing_since_ ? spdlog::level::info : spdlog::level::err,
                "{}; trying again", Message(status));
    retry_timer_ = loop_->After(backoff_.Next(), [this] { PlanNow(); });
  }
  TellSoon();
}

absl::Status Agent::TryPlan(bool whole) {
  const auto difference = Replan(whole);
  if (!difference.ok()) return Annotate(difference.status(), "planning");
  FollowEdges(*difference, whole);
  std::set<std::string> carried = difference->edges;
  carried.insert(lingering_.begin(), lingering_.end());
  return Annotate(whole ? ApplyUplink() : StepUplink(carried), "uplink");
}

void Agent::FollowEdges(const IslandPlanner::Difference& difference,
                        bool whole) {
  const Plan& plan = planner_.plan();
  board_.NotePlan(difference);
  std::erase_if(links_, [&plan](const auto& entry) {
    return plan.Edge(entry.first) == nullptr;
  });
  for (const EdgePlan& edge : plan.edges) {
    if (!whole && !difference.edges.contains(edge.edge)) continue;
    board_.NoteEdge(edge.edge);
    LinkOf(edge.edge).Follow(edge);
  }
}

EdgeLink& Agent::LinkOf(const std::string& edge) {
  std::unique_ptr<EdgeLink>& link = links_[edge];
  if (!link) {
    link = std::make_unique<EdgeLink>(
        EdgeLink::Context{*loop_, state_, resolver_, uplink_, *control_plane_,
                          options_.uplink_name},
        edge, [this] { PlanSoon(); }, [this, edge] { HearOfEdge(edge); });
  }
  return *link;
}

// What only the edge still had may have gone, and what plans rest on be other.
void Agent::HearOfEdge(const std::string& edge) {
  board_.NoteEdge(edge);
  FollowChangesSoon();
}

absl::StatusOr<Facts> Agent::GatherFacts(bool whole) {
  if (whole || !host_) {
    ASSIGN_OR_RETURN(host_, uplink_.Observe());
  }
  Facts facts;
  facts.cluster_uid = control_plane_->identity().uid;
  facts.own_uplink = options_.uplink_name;
  facts.local_addresses = host_->local_addresses;
  facts.host_routes = host_->routes;
  facts.ipv6 = host_->ipv6_trouble;
  facts.no_timeouts = no_timeouts_;
  facts.mark_mask = options_.mark_mask;
  UplinkFacts& own = facts.uplinks.emplace_back();
  own.name = options_.uplink_name;
  own.labels = control_plane_->own_labels();
  own.addresses = TellableAddresses(host_->local_addresses);
  for (const auto& [name, link] : links_) {
    if (const auto key = link->own_key()) own.keys.emplace(name, *key);
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

// Whoever replaces a file by another one may leave nothing there for a moment.
bool Agent::IsJustMissing() {
  if (!control_plane_->may_flicker()) return false;
  const auto& edge_nodes = control_plane_->objects().edge_nodes();
  const auto now = std::chrono::steady_clock::now();
  const bool missing = std::ranges::any_of(links_, [&](const auto& entry) {
    return !edge_nodes.contains(entry.first);
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

absl::StatusOr<IslandPlanner::Difference> Agent::Replan(bool whole) {
  if (IsJustMissing()) {
    return Unavailable("an EdgeNode has just gone; its tunnel stays a moment");
  }
  TellErrors();
  ObjectStore& objects = control_plane_->objects();
  for (const auto& [name, node] : objects.edge_nodes()) LinkOf(name);
  ASSIGN_OR_RETURN(Facts facts, GatherFacts(whole));
  facts.world_is_partial = control_plane_->mistakes().partial;
  if (whole || facts != planner_.facts()) {
    ASSIGN_OR_RETURN(allocation_, control_plane_->AllocateFor(facts));
    for (const auto& [name, node] : objects.edge_nodes()) {
      board_.NoteObject(node.Key());
    }
  }
  auto difference = planner_.Replan(objects, allocation_, facts);
  objects.ForgetChanges();
  return difference;
}

EdgePlan Agent::WithLingering(const EdgePlan& edge) const {
  EdgePlan whole = edge;
  const EdgePlan* before = carried_.Edge(edge.edge);
  const auto link = links_.find(edge.edge);
  if (!before || link == links_.end() || !link->second->syncer()) return whole;
  const auto& answered = link->second->syncer()->progress().answered;
  if (!answered || *answered == edge.wanted) return whole;
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
      whole.mappings.push_back(mapping);
    }
  }
  std::ranges::sort(whole.mappings, {}, [](const PlannedMapping& mapping) {
    return mapping.mapping.listener;
  });
  return whole;
}

}  // namespace edged::agent
