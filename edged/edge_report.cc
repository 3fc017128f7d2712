// The part of Edge that tells about itself.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "edged/core/arrival_ways.h"
#include "edged/core/underlay.h"
#include "edged/edge.h"

namespace edged::edge {
namespace {

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

std::vector<UplinkLife> Edge::UplinkLives() const {
  std::vector<UplinkLife> lives;
  for (const auto& [name, uplink] : model_.uplinks()) {
    UplinkLife& life = lives.emplace_back();
    life.name = name;
    const Health health = HealthOf(dataplane_.facts().health, name);
    life.alive = health == Health::kAlive;
    life.draining = health == Health::kDraining;
    if (const auto* heartbeat = uplinks_.LastHeartbeat(name)) {
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
  for (std::string& warning : WarningsOfArrivals(dataplane_.facts())) {
    report.warnings.push_back(std::move(warning));
  }
  for (std::string& warning : WarningsOfAstray(dataplane_.astray())) {
    report.warnings.push_back(std::move(warning));
  }
  for (const std::string* text : {&trouble_, &damaged_state_}) {
    if (!text->empty()) report.warnings.push_back(*text);
  }
  if (!not_durable_.empty()) {
    report.warnings.push_back("StateNotDurable: " + not_durable_);
  }
  if (std::string full = room_.Warning(overflow_.held()); !full.empty()) {
    report.warnings.push_back(std::move(full));
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
    uplink.last_heartbeat = uplinks_.LastHeard(life.name);
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
