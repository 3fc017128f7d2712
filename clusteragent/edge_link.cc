#include "clusteragent/edge_link.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/protocol/epoch_refusal.h"
#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

constexpr auto kContactInterval = std::chrono::seconds(2);
// After this time without a word the edge may have lost its state, and our key
// with it: we introduce ourselves again.
constexpr auto kNoContact = std::chrono::seconds(10);
// The same where other replicas know the edge, and it maybe not this one.
constexpr auto kNotMet = std::chrono::seconds(3);
// Of what the edge can cause: more than a first contact or a change of its key
// asks for, then one for every pause.
constexpr int kAsksAtOnce = 5;
constexpr auto kAskPause = milliseconds(200);

}  // namespace

EdgeLink::EdgeLink(const Context& context, std::string edge,
                   std::function<void()> replan, std::function<void()> changed)
    : context_(context),
      edge_(std::move(edge)),
      replan_(context.loop, kAsksAtOnce, kAskPause, std::move(replan)),
      changed_(context.loop, kAsksAtOnce, kAskPause, std::move(changed)),
      take_path_mtu_(context.loop, kAsksAtOnce, kAskPause,
                     [this] { TakePathMtu(); }),
      keys_(context.loop, context.state, context.uplink, edge_,
            {.say_stored = [this](const PublicKey& key) { SayStored(key); },
             .hears = [this] { return heartbeats_ && heartbeats_->hears(); },
             .replan = [this] { replan_.Ask(); },
             .now = context.shell.now}),
      introduction_(
          context.loop, context.uplink, edge_, context.shell.dial,
          [this](const absl::Status& status) { OnRegistered(status); }),
      backoff_(milliseconds(300), milliseconds(5'000)),
      last_contact_(context.shell.now()) {
  LoadEnrolment();
  contact_timer_ =
      context_.loop.Every(kContactInterval, [this] { CheckContact(); });
}

EdgeLink::~EdgeLink() {
  *alive_ = false;
  context_.loop.Cancel(contact_timer_);
  context_.loop.Cancel(introduce_timer_);
  context_.loop.Cancel(settling_timer_);
}

protocol::Overlay EdgeLink::overlay() const {
  return *protocol::Overlay::Create(plan_->network);  // the planner checked it
}

SocketAddress EdgeLink::ApiAddress() const {
  return {overlay().EdgeAddress(), protocol::kApiPort};
}

// Also before there is a plan.
std::string EdgeLink::OwnDevice() const {
  EdgePlan plan{.edge = edge_};
  const auto& nodes = context_.control_plane.objects().edge_nodes();
  const auto node = nodes.find(edge_);
  if (node != nodes.end()) plan.uid = node->second.meta.uid;
  return DeviceName(plan, context_.uplink_name);
}

// What cannot be read stays as it was read last.
void EdgeLink::LoadEnrolment() {
  auto token = context_.control_plane.Token(edge_);
  std::optional<PublicKey> token_key;
  if (token.ok() && *token) token_key = (*token)->edge_key;
  const absl::Status loaded = keys_.Load(OwnDevice(), token_key);
  const std::string trouble(Message(loaded.ok() ? token.status() : loaded));
  if (std::exchange(file_trouble_, trouble) != trouble) {
    if (trouble.empty()) {
      spdlog::info("edge {}: its files can be read again", edge_);
    } else {
      spdlog::error("edge {}: {}", edge_, trouble);
    }
    changed_.Ask();
  }
  if (!keys_.known()) return;
  // Who leads hears it from the edge itself, and tells the others; but what a
  // new process finds on its disk may be older.
  const bool first = !std::exchange(looked_, true);
  if (first || !context_.control_plane.epoch() || !registered()) {
    if (const auto shared = context_.control_plane.Shared(edge_)) {
      adopted_ = adopted_ || !registered();
      keys_.Adopt(*shared);
    }
  }
  if (!token.ok() || token_ == *token) return;
  if (token_) spdlog::info("edge {}: a new token was given out", edge_);
  token_ = *std::move(token);
}

void EdgeLink::Follow(const EdgePlan& plan) {
  plan_ = plan;
  LoadEnrolment();
  if (!wanted_ || wanted_->state() != plan.wanted) {
    wanted_ = std::make_shared<const protocol::DigestedState>(plan.wanted,
                                                              wanted_.get());
    SeeWhetherSettled();
  }
  if (enrolled()) LookUp();
}

void EdgeLink::LookUp() {
  if (std::exchange(looking_up_, true)) return;
  context_.resolver.Resolve(
      plan_->address,
      [this, alive = alive_](const absl::StatusOr<IpAddress>& address) {
        if (!*alive) return;
        looking_up_ = false;
        if (!address.ok()) {
          // Where it was last time may still be right.
          trouble_ = std::string(Message(address.status()));
          unresolved_ = true;
          changed_.Ask();
          return;
        }
        if (std::exchange(unresolved_, false)) trouble_.clear();
        if (std::exchange(address_, *address) != *address) replan_.Ask();
        IntroduceIfNew();
      });
}

EdgeAccess EdgeLink::access() const {
  EdgeAccess access;
  keys_.FillAccess(access);
  if (address_ && plan_) {
    access.endpoint = SocketAddress{*address_, plan_->listen_port};
  }
  const auto way = Way();
  access.underlay_mtu = way.ok() ? way->mtu : 0;
  access.path_mtu = path_mtu_;
  return access;
}

// ---- introduction ----

void EdgeLink::CheckContact() {
  WatchTunnel();
  if (!file_trouble_.empty()) {
    LoadEnrolment();
    if (file_trouble_.empty()) replan_.Ask();
  }
  const SteadyTime now = context_.shell.now();
  if (in_contact()) {
    last_contact_ = now;
    met_ = true;
    return;
  }
  // The name may be another address's by now, or was not to be looked up.
  if (plan_ && enrolled()) LookUp();
  if (!heartbeats_ && carried_) replan_.Ask();
  IntroduceIfNew();
  const auto patience = adopted_ && !met_ ? kNotMet : kNoContact;
  if (!is_new_to_edge() && now - last_contact_ > patience) {
    last_contact_ = now;
    Introduce();
  }
}

void EdgeLink::IntroduceIfNew() {
  if (is_new_to_edge() && introduce_timer_ == 0) Introduce();
}

void EdgeLink::Introduce() {
  context_.loop.Cancel(std::exchange(introduce_timer_, 0));
  if (introduction_.under_way()) return;
  const auto epoch = context_.control_plane.epoch();
  if (!epoch || draining_) return;
  if (in_contact() || !enrolled() || !keys_.known() || !address_ || !plan_ ||
      plan_->own_block == 0) {
    return;
  }
  introduced_to_ = is_new_to_edge() ? token_->edge_key : keys_.NextToTry();
  EdgeAccess access = this->access();
  access.edge_key = introduced_to_;
  introduction_.Begin(
      MakeControlDevice(*plan_, access,
                        context_.control_plane.identity().control_key,
                        context_.uplink_name),
      ApiAddress(), *epoch,
      {context_.uplink_name, keys_.own(), plan_->own_block});
}

void EdgeLink::OnRegistered(const absl::Status& status) {
  replan_.Ask();  // the own device gets the route to the edge back
  if (!status.ok()) {
    const std::string trouble(Message(status));
    HearEpoch(trouble);
    if (trouble != trouble_) {
      spdlog::warn("edge {}: no contact yet: {}", edge_, trouble);
    }
    trouble_ = trouble;
    if (is_new_to_edge()) IntroduceLater();
    changed_.Ask();
    return;
  }
  trouble_.clear();
  backoff_.Reset();
  keys_.Registered(
      token_ ? token_->edge_key : keys_.enrolment().registered_with,
      introduced_to_);
  spdlog::info("edge {}: registered, its key {}", edge_,
               introduced_to_.Short());
  last_contact_ = context_.shell.now();
}

void EdgeLink::IntroduceLater() {
  context_.loop.Cancel(introduce_timer_);
  introduce_timer_ =
      context_.loop.After(backoff_.Next(), [this] { Introduce(); });
}

// ---- service ----

void EdgeLink::CarryOn() {
  carried_ = wanted_;
  if (!heartbeats_) return;  // CheckContact() has them tried again
  heartbeats_->Say({.ready = !draining_, .draining = draining_},
                   carried_->digest());
  StartSync();
}

void EdgeLink::Drain() {
  draining_ = true;
  if (heartbeats_ && carried_) {
    heartbeats_->Say({.draining = true}, carried_->digest());
  }
}

void EdgeLink::FollowTerm() {
  syncer_.reset();
  repairs_.reset();
  introduction_.GiveUp();
  confirmed_.reset();
  if (carried_) StartSync();
  IntroduceIfNew();
}

// Once all replicas can know it.
void EdgeLink::SayStored(const PublicKey& key) {
  context_.control_plane.Share(edge_, keys_.enrolment(),
                               [this, key, alive = alive_] {
                                 if (*alive && syncer_) {
                                   syncer_->SayKeyStored(key);
                                 }
                               });
}

void EdgeLink::StartSync() {
  const auto epoch = context_.control_plane.epoch();
  if (!epoch) return;
  if (!client_) client_ = context_.shell.dial(context_.loop, ApiAddress());
  if (!syncer_) {
    syncer_ = std::make_unique<EdgeSyncer>(context_.loop, *client_, *epoch,
                                           edge_, [this] { OnProgress(); });
    syncer_->OnKeys(
        [this](const EdgeKeyNotice& notice) { keys_.OnNotice(notice); });
  }
  syncer_->Want(wanted_);
}

void EdgeLink::HearEpoch(const std::string& trouble) {
  if (const auto seen = protocol::SeenEpoch(trouble)) {
    context_.control_plane.Exceed(edge_, *seen);
  }
}

void EdgeLink::OnProgress() {
  HearEpoch(syncer_->progress().trouble);
  ConfirmCarried();
  SeeWhetherSettled();
  if (syncer_->progress().connected && !repairs_) {
    repairs_ = std::make_unique<RepairWatch>(
        context_.loop, *client_, [this](const Happening& news) {
          context_.control_plane.Announce(edge_, news);
        });
  }
  changed_.Ask();
}

// Whichever uplink it is: where this one cannot do what is wanted, the edge is
// asked for it all the same as soon as another one does it.
void EdgeLink::ConfirmCarried() {
  const auto& uplinks = syncer_->progress().report.uplinks;
  if (std::ranges::none_of(uplinks, &UplinkLife::alive)) {
    confirmed_.reset();
    return;
  }
  if (confirmed_ == wanted_) return;
  const bool carries =
      std::ranges::any_of(uplinks, [this](const UplinkLife& uplink) {
        return uplink.alive && uplink.applied == wanted_->digest();
      });
  if (!carries) return;
  confirmed_ = wanted_;
  if (carried_ != wanted_) syncer_->Want(wanted_);
}

// What is said when the moment is over nobody else asks for.
void EdgeLink::SeeWhetherSettled() {
  const SteadyTime now = context_.shell.now();
  settling_.Note(now, StateOf(wanted_),
                 syncer_ ? StateOf(syncer_->progress().answered) : nullptr,
                 StateOf(confirmed_));
  if (!settling_.IsSettling(now) || settling_timer_ != 0) return;
  settling_timer_ = context_.loop.After(
      std::chrono::ceil<milliseconds>(*settling_.until() - now), [this] {
        settling_timer_ = 0;
        SeeWhetherSettled();
        changed_.Ask();
      });
}

EdgeReport EdgeLink::Report() const {
  EdgeReport report;
  report.enrolled = registered();
  report.tunnel_up = heartbeats_ && heartbeats_->is_up();
  report.trouble = trouble_;
  if (!enrolled()) {
    report.trouble = fmt::format(
        "no token was given out; run `clusteragent "
        "token {}`",
        edge_);
  }
  report.file_trouble = file_trouble_;
  if (!keys_.known()) report.trouble = file_trouble_;
  if (!syncer_) return report;
  const EdgeSyncer::Progress& progress = syncer_->progress();
  if (!progress.trouble.empty()) report.trouble = progress.trouble;
  report.answered = StateOf(progress.answered);
  report.refused = progress.refused;
  report.carried = StateOf(confirmed_);
  report.settling = settling_.IsSettling(context_.shell.now());
  if (progress.connected) {
    report.values["edgedVersion"] = progress.edge_version;
    uint32_t mtu = progress.report.mtu;
    report.values["edgeMtu"] = std::to_string(mtu);
    if (own_mtu_ != 0) {
      mtu = std::min(mtu, own_mtu_);
      report.values["uplinkMtu"] = std::to_string(own_mtu_);
    }
    if (path_mtu_ != 0) mtu = std::min(mtu, path_mtu_);
    report.values["mtu"] = std::to_string(mtu);
  }
  return report;
}

}  // namespace edged::agent
