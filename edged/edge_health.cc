// The part of Edge that listens to its uplinks and tells about them.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/protocol/tunnel_mtu.h"
#include "common/status.h"
#include "edged/core/underlay.h"
#include "edged/edge.h"

namespace edged::edge {
namespace {

using SteadyClock = std::chrono::steady_clock;

// After a start uplinks have this long to notice it, once there is a way to
// them; the machine may have no network yet. They are greeted meanwhile.
constexpr auto kFirstWords = std::chrono::seconds(5);
constexpr auto kGreetInterval = std::chrono::seconds(1);
constexpr auto kFirstWordsInterval = std::chrono::milliseconds(100);
// After this time the TCP flows of a dead uplink are given up.
constexpr auto kLongDead = std::chrono::seconds(30);
// Between two judgements that heartbeats bring about. An uplink may send
// without end, and say something else each time: it gets a fifth of the loop's
// time.
constexpr auto kHeedInterval = std::chrono::milliseconds(5);
constexpr int kHeedFactor = 4;

bool Worsened(const UplinkHealth& before, const UplinkHealth& after) {
  return std::ranges::any_of(after, [&before](const auto& entry) {
    return entry.second < HealthOf(before, entry.first);
  });
}

bool SameReport(const Report& a, const Report& b) {
  return a.not_programmed == b.not_programmed && a.digest == b.digest &&
         a.warnings == b.warnings && a.mtu == b.mtu &&
         a.addresses == b.addresses &&
         std::ranges::equal(a.uplinks, b.uplinks,
                            [](const UplinkLife& x, const UplinkLife& y) {
                              return x.SameAs(y);
                            });
}

}  // namespace

void Edge::StartHeartbeats() {
  // A socket stays bound to the device that it was bound to, not to its name.
  const int link = dataplane_.device_index();
  if (heartbeats_ && heartbeat_link_ == link) return;
  heartbeats_.reset();
  heartbeat_link_ = link;
  auto server = HeartbeatServer::Start(
      loop_, limits_.overlay.EdgeAddress(), dataplane_.facts().device,
      [this](const IpAddress& from, const protocol::Heartbeat& heartbeat) {
        OnHeartbeat(from, heartbeat);
      },
      [this](const IpAddress& from, const protocol::PathProbe& probe) {
        return OnProbe(from, probe);
      });
  if (server.ok()) {
    heartbeats_ = *std::move(server);
  } else {
    spdlog::error("{}", Message(server.status()));
    RetryReconcile();
  }
}

// nullptr when `address` is no uplink's.
const std::string* Edge::UplinkAt(const IpAddress& address) const {
  for (const auto& [name, uplink] : model_.uplinks()) {
    if (limits_.overlay.UplinkAddress(uplink.block) == address) return &name;
  }
  return nullptr;
}

void Edge::OnHeartbeat(const IpAddress& from,
                       const protocol::Heartbeat& heartbeat) {
  const std::string* uplink = UplinkAt(from);
  if (!uplink) return;
  const auto now = SteadyClock::now();
  health_.Tick(now);  // our own stall is not the silence of the others
  health_.OnHeartbeat(*uplink, heartbeat, now);
  last_heartbeats_[*uplink] = std::chrono::system_clock::now();
  HeedSoon(now);
}

std::optional<uint32_t> Edge::OnProbe(const IpAddress& from,
                                      const protocol::PathProbe& probe) {
  const std::string* uplink = UplinkAt(from);
  if (!uplink) return std::nullopt;
  if (probe.uplink_mtu != 0) {
    const uint32_t mtu =
        std::clamp(probe.uplink_mtu, protocol::kLeastMtu, uint32_t{UINT16_MAX});
    mtu_changed_ |= dataplane_.TakeUplinkMtu(*uplink, mtu);
    if (mtu_changed_) HeedSoon(SteadyClock::now());
  }
  return dataplane_.facts().own_mtu;
}

void Edge::HeedSoon(SteadyTime now) {
  if (heed_timer_ != 0) return;
  if (now >= heed_after_) {
    HeedHeartbeats();
    return;
  }
  heed_timer_ = loop_.After(heed_after_ - now, [this] { HeedHeartbeats(); });
}

void Edge::HeedHeartbeats() {
  heed_timer_ = 0;
  const auto start = SteadyClock::now();
  CheckHealth();
  FollowMtu();
  SendReportIfChanged();
  const auto end = SteadyClock::now();
  heed_after_ = end + std::max<SteadyClock::duration>(
                          kHeedInterval, kHeedFactor * (end - start));
}

void Edge::FollowMtu() {
  if (!mtu_changed_ || !programmed_ || adopting_) return;
  mtu_changed_ = false;
  const auto written = RepairNetwork();
  if (!written.ok()) {
    ReconcileSoon();
  } else if (!written->empty() &&
             std::exchange(told_mtu_, *written) != *written) {
    spdlog::info("MTU: {}", *written);
  }
}

void Edge::ArmHealthTimer() {
  const auto interval = health_.tick_interval();
  if (health_timer_ != 0 && interval == health_interval_) return;
  loop_.Cancel(health_timer_);
  health_interval_ = interval;
  health_timer_ = loop_.Every(interval, [this] {
    health_.Tick(SteadyClock::now());
    CheckHealth();
  });
}

void Edge::CheckHealth() {
  const auto now = SteadyClock::now();
  const UplinkHealth before = dataplane_.facts().health;
  UplinkHealth after = health_.Evaluate(now);
  if (after == before) return;
  if (Worsened(before, after)) {
    ReadReceivedBytes(now);
    after = health_.Evaluate(now);
    if (after == before) return;
  }
  const absl::Status status = dataplane_.ApplyHealth(model_, after);
  const double took =
      std::chrono::duration<double, std::milli>(SteadyClock::now() - now)
          .count();
  for (const auto& [name, health] : after) {
    if (HealthOf(before, name) == health) continue;
    spdlog::info("uplink {}: {} → {}, {:.2f} ms", name,
                 ToString(HealthOf(before, name)), ToString(health), took);
  }
  if (!status.ok()) {
    spdlog::error("uplinks: {}", Message(status));
    ReconcileSoon();
  }
  flows_.Soon(FlowSearch::Unserving());
  SendReportIfChanged();
  // Who is heard again may be elsewhere.
  const auto device = dataplane_.Tunnel();
  if (device.ok()) KeepPeers(*device);
}

void Edge::WaitForFirstWords() {
  first_words_timer_ = 0;
  if (!health_.HasGrace()) return;
  const auto now = SteadyClock::now();
  const bool way = std::ranges::any_of(endpoints_, [this](const auto& entry) {
    return dataplane_.HasWayTo(entry.second.address);
  });
  if (way && !way_since_) way_since_ = now;
  if (way_since_ && now - *way_since_ > kFirstWords) return;
  health_.ExtendGrace(now);
  if (way_since_ && now >= greet_after_) {
    greet_after_ = now + kGreetInterval;
    const absl::Status renewed =
        dataplane_.RenewSilentPeers(model_, endpoints_);
    if (!renewed.ok()) spdlog::warn("{}", Message(renewed));
    GreetUplinks();
  }
  first_words_timer_ =
      loop_.After(kFirstWordsInterval, [this] { WaitForFirstWords(); });
}

void Edge::ReadReceivedBytes(SteadyTime now) {
  const auto device = dataplane_.Tunnel();
  if (!device.ok()) return;
  for (const wireguard::Peer& peer : device->peers) {
    for (const auto& [name, uplink] : model_.uplinks()) {
      if (uplink.key == peer.key) {
        health_.OnReceivedBytes(name, peer.received_bytes, now);
      }
    }
  }
}

std::set<std::string> Edge::LongDead() const {
  std::set<std::string> names;
  for (const auto& [name, uplink] : model_.uplinks()) {
    const auto dead = health_.DeadFor(name, SteadyClock::now());
    if (dead && *dead > kLongDead) names.insert(name);
  }
  return names;
}

// Peers' endpoints are kept, also of those that somebody removed, so that the
// edge speaks first after a restart or a repair.
void Edge::KeepPeers(const wireguard::Device& device) {
  peers_.clear();
  Endpoints endpoints;
  const auto keep = [&](const PublicKey& key) {
    const auto known = endpoints_.find(key);
    if (known != endpoints_.end()) endpoints.insert(*known);
  };
  keep(join_.control_key);
  for (const auto& [name, uplink] : model_.uplinks()) keep(uplink.key);
  for (const wireguard::Peer& peer : device.peers) {
    peers_.emplace(peer.key, peer);
    if (peer.endpoint) endpoints[peer.key] = *peer.endpoint;
  }
  if (std::exchange(endpoints_, endpoints) != endpoints) {
    mtu_changed_ = true;  // the way there may be another one
    SaveSoon();
  }
}

std::vector<UplinkLife> Edge::UplinkLives() const {
  std::vector<UplinkLife> lives;
  for (const auto& [name, uplink] : model_.uplinks()) {
    UplinkLife& life = lives.emplace_back();
    life.name = name;
    const Health health = HealthOf(dataplane_.facts().health, name);
    life.alive = health == Health::kAlive;
    life.draining = health == Health::kDraining;
    if (const auto* heartbeat = health_.LastHeartbeat(name)) {
      life.applied = heartbeat->applied;
    }
    const auto peer = peers_.find(uplink.key);
    if (peer != peers_.end() && peer->second.last_handshake != WallTime()) {
      life.last_handshake = peer->second.last_handshake;
    }
  }
  return lives;
}

Report Edge::MakeReport() const {
  Report report{.uplinks = UplinkLives(),
                .not_programmed = dataplane_.NotProgrammed(model_),
                .digest = dataplane_.ProgrammedDigest(model_),
                .mtu = dataplane_.facts().own_mtu,
                .addresses = dataplane_.Addresses(model_)};
  report.warnings = WarningsOfMtu(model_, dataplane_.facts());
  for (std::string& warning : WarningsOfAstray(dataplane_.astray())) {
    report.warnings.push_back(std::move(warning));
  }
  for (const std::string* text : {&trouble_, &damaged_state_}) {
    if (!text->empty()) report.warnings.push_back(*text);
  }
  if (!not_durable_.empty()) {
    report.warnings.push_back("StateNotDurable: " + not_durable_);
  }
  if (const Flood* flood = pace_.flood()) {
    report.warnings.push_back(
        fmt::format("{} changes what is ours faster than it is repaired",
                    flood->by.ToString()));
  }
  return report;
}

void Edge::SendReportIfChanged() {
  if (!stream_) return;
  Report report = MakeReport();
  if (SameReport(report, last_report_)) return;
  last_report_ = std::move(report);
  stream_->Send(last_report_);
}

void Edge::FillStatus(EdgeStatus& status) const {
  const Report report = MakeReport();
  status.enrolled = true;
  status.contacted = contacted_;
  status.cluster_uid = join_.cluster_uid.empty() && gate_.seen()
                           ? gate_.seen()->cluster_uid
                           : join_.cluster_uid;
  status.edge = join_.edge;
  status.device = dataplane_.facts().device;
  status.listen_port = join_.listen_port;
  status.network = join_.network;
  const auto* overlay6 = dataplane_.facts().OverlayOf(Family::kIpv6);
  if (overlay6) status.network6 = overlay6->network();
  status.address = limits_.overlay.EdgeAddress();
  status.mtu = report.mtu;
  status.addresses = report.addresses;
  status.warnings = report.warnings;
  keys_.FillStatus(status);
  status.digest = report.digest;
  status.refused = refused_;
  status.refused.insert(status.refused.end(), report.not_programmed.begin(),
                        report.not_programmed.end());
  status.mapping_count = model_.mapping_count() - report.not_programmed.size();
  status.epoch = gate_.seen();
  status.applied_version = applied_version_;
  status.applied_at = applied_at_;
  status.apply_time = apply_time_;
  for (const auto& [name, group] : model_.groups()) {
    status.groups.push_back(group);
  }
  const auto device = dataplane_.Tunnel();
  for (const UplinkLife& life : report.uplinks) {
    UplinkStatus& uplink = status.uplinks.emplace_back();
    uplink.uplink = model_.uplinks().at(life.name);
    uplink.address = limits_.overlay.UplinkAddress(uplink.uplink.block);
    uplink.life = life;
    uplink.mtu = dataplane_.facts().MtuOf(life.name);
    const auto heartbeat = last_heartbeats_.find(life.name);
    if (heartbeat != last_heartbeats_.end()) {
      uplink.last_heartbeat = heartbeat->second;
    }
    if (!device.ok()) continue;
    for (const wireguard::Peer& peer : device->peers) {
      if (peer.key != uplink.uplink.key) continue;
      uplink.endpoint = peer.endpoint;
      uplink.received_bytes = peer.received_bytes;
      uplink.sent_bytes = peer.sent_bytes;
      if (peer.last_handshake != WallTime()) {
        uplink.life.last_handshake = peer.last_handshake;
      }
    }
  }
}

}  // namespace edged::edge
