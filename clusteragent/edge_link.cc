#include "clusteragent/edge_link.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

constexpr auto kContactInterval = std::chrono::seconds(2);
// After this time without a word the edge may have lost its state, and our key
// with it: we introduce ourselves again.
constexpr auto kNoContact = std::chrono::seconds(10);

protocol::Overlay OverlayOf(const EdgePlan& plan) {
  return *protocol::Overlay::Create(plan.network);  // the planner checked it
}

SocketAddress ApiAddress(const EdgePlan& plan) {
  return {OverlayOf(plan).EdgeAddress(), protocol::kApiPort};
}

}  // namespace

EdgeLink::EdgeLink(const Context& context, std::string edge,
                   std::function<void()> replan, std::function<void()> changed)
    : context_(context),
      edge_(std::move(edge)),
      replan_(std::move(replan)),
      changed_(std::move(changed)),
      keys_(context.loop, context.state, context.uplink, edge_,
            {.say_stored =
                 [this](const PublicKey& key) {
                   if (syncer_) syncer_->SayKeyStored(key);
                 },
             .hears = [this] { return heartbeats_ && heartbeats_->hears(); },
             .replan = [this] { replan_(); }}),
      backoff_(milliseconds(300), milliseconds(5'000)) {
  LoadEnrolment();
  contact_timer_ =
      context_.loop.Every(kContactInterval, [this] { CheckContact(); });
}

EdgeLink::~EdgeLink() {
  *alive_ = false;
  context_.loop.Cancel(contact_timer_);
  context_.loop.Cancel(introduce_timer_);
  DropControlDevice();
}

void EdgeLink::LoadEnrolment() {
  const absl::Status loaded = keys_.Load();
  auto token = context_.state.LoadToken(edge_);
  if (!loaded.ok() || !token.ok()) {
    trouble_ = std::string(Message(loaded.ok() ? token.status() : loaded));
    spdlog::error("edge {}: {}", edge_, trouble_);
    return;
  }
  if (token_ == *token) return;
  if (token_) spdlog::info("edge {}: a new token was given out", edge_);
  token_ = *std::move(token);
}

void EdgeLink::Follow(const EdgePlan& plan) {
  plan_ = plan;
  LoadEnrolment();
  if (!wanted_ || *wanted_ != plan.wanted) {
    wanted_ = std::make_shared<const protocol::EdgeState>(plan.wanted);
  }
  if (token_) LookUp();
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
          changed_();
          return;
        }
        if (std::exchange(address_, *address) != *address) replan_();
        IntroduceIfNew();
      });
}

EdgeAccess EdgeLink::access() const {
  EdgeAccess access;
  keys_.FillAccess(access);
  if (address_ && plan_) {
    access.endpoint = SocketAddress{*address_, plan_->listen_port};
  }
  if (address_) {
    access.underlay_mtu = context_.uplink.MtuTo(*address_).value_or(0);
  }
  access.path_mtu = path_mtu_;
  return access;
}

// ---- introduction ----

void EdgeLink::CheckContact() {
  const auto now = std::chrono::steady_clock::now();
  if (in_contact()) {
    last_contact_ = now;
    return;
  }
  IntroduceIfNew();
  if (!is_new_to_edge() && now - last_contact_ > kNoContact) {
    last_contact_ = now;
    Introduce();
  }
}

void EdgeLink::IntroduceIfNew() {
  if (is_new_to_edge() && introduce_timer_ == 0) Introduce();
}

void EdgeLink::Introduce() {
  context_.loop.Cancel(std::exchange(introduce_timer_, 0));
  if (!control_device_.empty()) return;  // it is under way
  if (in_contact() || !token_ || !address_ || !plan_ || plan_->own_block == 0) {
    return;
  }
  introduced_to_ = is_new_to_edge() ? token_->edge_key : keys_.NextToTry();
  EdgeAccess access = this->access();
  access.edge_key = introduced_to_;
  auto device = MakeControlDevice(*plan_, access, context_.control_key,
                                  context_.uplink_name);
  absl::Status status = device.status();
  if (status.ok()) {
    control_device_ = device->wireguard.name;
    status = context_.uplink.AddControlDevice(*device);
  }
  if (!status.ok()) {
    OnRegistered(status);
    return;
  }
  introducer_ = DialEdge(context_.loop, ApiAddress(*plan_));
  introducer_->Register(
      context_.epoch, {context_.uplink_name, own_key(), plan_->own_block},
      edge_, [this, alive = alive_](const absl::Status& status) {
        if (*alive) OnRegistered(status);
      });
}

void EdgeLink::OnRegistered(const absl::Status& status) {
  introducer_.reset();
  DropControlDevice();
  replan_();  // the own device gets the route to the edge back
  if (!status.ok()) {
    const std::string trouble(Message(status));
    if (trouble != trouble_) {
      spdlog::warn("edge {}: no contact yet: {}", edge_, trouble);
    }
    trouble_ = trouble;
    if (is_new_to_edge()) IntroduceLater();
    changed_();
    return;
  }
  trouble_.clear();
  backoff_.Reset();
  keys_.Registered(token_->edge_key, introduced_to_);
  spdlog::info("edge {}: registered, its key {}", edge_,
               introduced_to_.Short());
  last_contact_ = std::chrono::steady_clock::now();
}

void EdgeLink::IntroduceLater() {
  context_.loop.Cancel(introduce_timer_);
  introduce_timer_ =
      context_.loop.After(backoff_.Next(), [this] { Introduce(); });
}

void EdgeLink::DropControlDevice() {
  if (control_device_.empty()) return;
  const std::string device = std::exchange(control_device_, "");
  const absl::Status status = context_.uplink.RemoveControlDevice(device);
  if (!status.ok()) spdlog::error("device {}: {}", device, Message(status));
}

// ---- service ----

void EdgeLink::Carry(const UplinkDevice& device, int link) {
  carried_ = wanted_;
  const std::string& name = device.wireguard.name;
  const HeartbeatSender::Options options{
      .device = name,
      .link = link,
      .own = OverlayOf(*plan_).UplinkAddress(plan_->own_block),
      .edge = ApiAddress(*plan_),
      .interval = wanted_->settings.heartbeat_interval,
      .threshold = wanted_->settings.unhealthy_threshold};
  if (!heartbeats_ || heartbeat_options_ != options) {
    heartbeats_.reset();
    auto sender = HeartbeatSender::Start(context_.loop, options,
                                         [this] { OnHeartbeats(); });
    if (!sender.ok()) {
      trouble_ = std::string(Message(sender.status()));
      spdlog::error("edge {}: {}", edge_, trouble_);
      return;
    }
    heartbeats_ = *std::move(sender);
    heartbeat_options_ = options;
  }
  keys_.Carry(name);
  own_mtu_ = device.own_mtu;
  heartbeats_->SetMtu(own_mtu_);
  const uint32_t planned_with = std::exchange(path_mtu_, heartbeats_->mtu());
  if (planned_with != 0 && planned_with != path_mtu_) replan_();
  heartbeats_->Say(/*ready=*/true, DigestOf(*carried_));
  StartSync();
}

void EdgeLink::StartSync() {
  if (!client_) client_ = DialEdge(context_.loop, ApiAddress(*plan_));
  if (!syncer_) {
    syncer_ =
        std::make_unique<EdgeSyncer>(context_.loop, *client_, context_.epoch,
                                     edge_, [this] { OnProgress(); });
    syncer_->OnKeys(
        [this](const EdgeKeyNotice& notice) { keys_.OnNotice(notice); });
  }
  syncer_->Want(wanted_);
}

void EdgeLink::OnProgress() {
  const auto& uplinks = syncer_->progress().report.uplinks;
  const auto own =
      std::ranges::find(uplinks, context_.uplink_name, &UplinkLife::name);
  if (own == uplinks.end() || !own->alive) {
    confirmed_.reset();
  } else if (carried_ && own->applied == DigestOf(*carried_)) {
    confirmed_ = carried_;
  }
  changed_();
}

void EdgeLink::OnHeartbeats() {
  if (std::exchange(path_mtu_, heartbeats_->mtu()) != path_mtu_) {
    spdlog::info("edge {}: packets of {} bytes come through, of {} at most",
                 edge_, path_mtu_, own_mtu_);
    replan_();
  }
  changed_();
}

EdgeReport EdgeLink::Report() const {
  EdgeReport report;
  report.enrolled = registered();
  report.tunnel_up = heartbeats_ && heartbeats_->is_up();
  report.trouble = trouble_;
  if (!token_) {
    report.trouble = fmt::format(
        "no token was given out; run `clusteragent "
        "token {}`",
        edge_);
  }
  if (!syncer_) return report;
  const EdgeSyncer::Progress& progress = syncer_->progress();
  if (!progress.trouble.empty()) report.trouble = progress.trouble;
  report.answered = progress.answered;
  report.refused = progress.refused;
  report.carried = confirmed_;
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
