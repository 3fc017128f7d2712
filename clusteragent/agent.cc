#include "clusteragent/agent.h"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <utility>

#include "clusteragent/core/lingering.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/manifest_control_plane.h"
#include "common/heap.h"
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
      UplinkKeeper::Kernel{std::move(nft), std::move(wireguard),
                           std::move(rtnetlink)}));
  RETURN_IF_ERROR(agent->Begin());
  return agent;
}

Agent::Agent(const AgentOptions& options, std::unique_ptr<EventLoop> loop,
             FileLock lock, NamespaceLock namespace_lock,
             UplinkKeeper::Kernel kernel)
    : options_(options),
      loop_(std::move(loop)),
      lock_(std::move(lock)),
      namespace_lock_(std::move(namespace_lock)),
      state_(options.state),
      keeper_(*loop_),
      uplink_(*loop_, *this, std::move(kernel),
              {.uplink = options.uplink_name,
               .mark_mask = options.mark_mask,
               .devices = state_.LoadDevices(),
               .switched_links = state_.LoadSwitchedLinks()}),
      resolver_(*loop_, AskSystem),
      backoff_(milliseconds(250), std::chrono::seconds(10)) {}

Agent::~Agent() = default;

absl::Status Agent::Begin() {
  for (const int signal : {SIGTERM, SIGINT}) {
    RETURN_IF_ERROR(loop_->OnSignal(signal, [this, signal] { Stop(signal); }));
  }
  uplink_.Start();
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
               wireguard::ToString(uplink_.backend()));
  FollowTerm();
  PlanNow();
  loop_->After(kStarting + kTellDelay, [this] { TellSoon(); });
  loop_->Every(kTrimInterval, TrimHeap);
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
  plan_timer_ = loop_->After(kPlanDelay, [this] { PlanInTurn(); });
}

bool Agent::NeedsWholePlan() const {
  return whole_ || !uplink_.applied() ||
         control_plane_->objects().changes().everything;
}

// A plan of everything takes half of the time at most, however often there is a
// reason for one.
void Agent::PlanInTurn() {
  const auto wait = whole_ended_ + whole_took_ - SteadyClock::now();
  if (!NeedsWholePlan() || wait <= wait.zero()) return PlanNow();
  plan_timer_ = loop_->After(std::chrono::ceil<milliseconds>(wait),
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
  const auto begun = SteadyClock::now();
  const bool whole = NeedsWholePlan();
  whole_ = false;  // what asks for everything meanwhile gets it with the next
  const absl::Status status = TryPlan(whole);
  if (whole) {
    whole_ended_ = SteadyClock::now();
    whole_took_ = whole_ended_ - begun;
  }
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
  return Annotate(whole ? CarryAll() : CarryThese(carried), "uplink");
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
        EdgeLink::Context{*loop_, state_, resolver_, uplink_.uplink(),
                          *control_plane_, options_.uplink_name},
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
  if (whole || uplink_.host() == nullptr) RETURN_IF_ERROR(uplink_.Observe());
  const UplinkHost& host = *uplink_.host();
  Facts facts;
  facts.cluster_uid = control_plane_->identity().uid;
  facts.own_uplink = options_.uplink_name;
  facts.local_addresses = host.local_addresses;
  facts.host_routes = host.routes;
  facts.ipv6 = host.ipv6_trouble;
  facts.no_timeouts = uplink_.no_timeouts();
  facts.mark_mask = options_.mark_mask;
  UplinkFacts& own = facts.uplinks.emplace_back();
  own.name = options_.uplink_name;
  own.labels = control_plane_->own_labels();
  own.addresses = TellableAddresses(host.local_addresses);
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

absl::Status Agent::CarryAll() {
  std::vector<EdgePlan> edges;
  lingering_.clear();
  for (const EdgePlan& edge : planner_.plan().edges) {
    edges.push_back(ToCarry(edge));
    if (edges.back() != edge) lingering_.insert(edge.edge);
  }
  std::map<std::string, EdgeAccess> access;
  for (const auto& [name, link] : links_) access[name] = link->access();
  return uplink_.Apply(std::move(edges), std::move(access));
}

absl::Status Agent::CarryThese(const std::set<std::string>& edges) {
  std::vector<EdgePlan> next;
  next.reserve(edges.size());
  for (const std::string& name : edges) {
    const EdgePlan* edge = planner_.plan().Edge(name);
    if (edge == nullptr) continue;  // it has gone: everything is looked at
    next.push_back(ToCarry(*edge));
    if (next.back() == *edge) {
      lingering_.erase(name);
    } else {
      lingering_.insert(name);
    }
  }
  if (next.size() == edges.size() && uplink_.Step(std::move(next))) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(uplink_.Observe());
  return CarryAll();
}

// An edge may have gone that is still carried.
void Agent::Carry(const UplinkDevice& device, int link) {
  const auto found = links_.find(device.edge);
  if (found != links_.end()) found->second->Carry(device, link);
}

void Agent::CarryOn(const std::string& edge) {
  const auto found = links_.find(edge);
  if (found != links_.end()) found->second->CarryOn();
}

void Agent::Announce(const Happening& news) {
  control_plane_->AnnounceOwn(news);
}

void Agent::KeepDevices(const std::vector<std::string>& devices) {
  keeper_.Keep("devices",
               [this, devices] { return state_.SaveDevices(devices); });
}

void Agent::KeepSwitched(const std::set<SwitchedLink>& links) {
  keeper_.Keep("switched links",
               [this, links] { return state_.SaveSwitchedLinks(links); });
}

EdgePlan Agent::ToCarry(const EdgePlan& edge) const {
  const EdgePlan* before = uplink_.Carried(edge.edge);
  const auto link = links_.find(edge.edge);
  if (before == nullptr || link == links_.end() || !link->second->syncer()) {
    return edge;
  }
  const auto& answered = link->second->syncer()->progress().answered;
  return answered ? WithLingering(edge, *before, answered->state()) : edge;
}

}  // namespace edged::agent
