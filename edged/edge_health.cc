// The part of Edge that does what its uplinks' words ask for.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/protocol/tunnel_mtu.h"
#include "common/status.h"
#include "edged/edge.h"

namespace edged::edge {

using SteadyClock = std::chrono::steady_clock;

bool Edge::HearUplinks() {
  const auto is_other = uplinks_.Hear(dataplane_.device_index());
  if (is_other.ok()) return *is_other;
  spdlog::error("{}", Message(is_other.status()));
  RetryReconcile();
  return false;
}

void Edge::Heed() {
  JudgeHealth();
  FollowMtu();
  SendReportIfChanged();
}

void Edge::JudgeHealth() {
  const auto now = SteadyClock::now();
  const UplinkHealth before = dataplane_.facts().health;
  const UplinkHealth after = uplinks_.Judge(before);
  if (after == before) return;
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

uint32_t Edge::OnProbe(const std::string& uplink,
                       const protocol::PathProbe& probe) {
  if (probe.uplink_mtu != 0) {
    const uint32_t mtu =
        std::clamp(probe.uplink_mtu, protocol::kLeastMtu, uint32_t{UINT16_MAX});
    mtu_changed_ |= dataplane_.TakeUplinkMtu(uplink, mtu);
    if (mtu_changed_) uplinks_.HeedSoon();
  }
  return dataplane_.facts().own_mtu;
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

std::map<PublicKey, uint64_t> Edge::ReceivedBytes() {
  std::map<PublicKey, uint64_t> received;
  const auto device = dataplane_.Tunnel();
  if (!device.ok()) return received;
  for (const wireguard::Peer& peer : device->peers) {
    received[peer.key] = peer.received_bytes;
  }
  return received;
}

bool Edge::HasWay() {
  return std::ranges::any_of(endpoints_, [this](const auto& entry) {
    return dataplane_.HasWayTo(entry.second.address);
  });
}

void Edge::RenewSilentPeers() {
  const absl::Status renewed = dataplane_.RenewSilentPeers(model_, endpoints_);
  if (!renewed.ok()) spdlog::warn("{}", Message(renewed));
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

}  // namespace edged::edge
