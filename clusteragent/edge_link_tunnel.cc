// The part of EdgeLink that looks after the tunnel: its heartbeats, the way to
// the edge and what it carries.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "clusteragent/edge_link.h"
#include "common/status.h"

namespace edged::agent {
namespace {

// Of a WireGuard session (REJECT_AFTER_TIME).
constexpr auto kSessionEnds = std::chrono::seconds(180);

}  // namespace

void EdgeLink::Carry(const UplinkDevice& device, int link) {
  const std::string& name = device.wireguard.name;
  const HeartbeatSender::Options options{
      .device = name,
      .link = link,
      .own = overlay().UplinkAddress(plan_->own_block),
      .edge = ApiAddress(),
      .interval = wanted_->state().settings.heartbeat_interval,
      .threshold = wanted_->state().settings.unhealthy_threshold};
  if (!heartbeats_ || heartbeat_options_ != options) {
    heartbeats_.reset();
    auto sender = context_.shell.start_heartbeats(context_.loop, options,
                                                  [this] { OnHeartbeats(); });
    if (!sender.ok()) {
      trouble_ = std::string(Message(sender.status()));
      spdlog::error("edge {}: {}", edge_, trouble_);
      return;
    }
    heartbeats_ = *std::move(sender);
    heartbeat_options_ = options;
    // The path is what it was. Where all that the links leave was in use, it is
    // what they leave now.
    if (path_mtu_ < own_mtu_) heartbeats_->ResumeMtu(path_mtu_);
  }
  device_ = name;
  keys_.Carry(name);
  own_mtu_ = device.own_mtu;
  heartbeats_->SetMtu(own_mtu_);
  SeeWay();
  const uint32_t planned_with = std::exchange(path_mtu_, heartbeats_->mtu());
  if (planned_with != 0 && planned_with != path_mtu_) replan_.Ask();
  CarryOn();
}

void EdgeLink::OnHeartbeats() {
  if (heartbeats_->mtu() != path_mtu_) take_path_mtu_.Ask();
  changed_.Ask();
}

void EdgeLink::TakePathMtu() {
  if (!heartbeats_) return;
  if (std::exchange(path_mtu_, heartbeats_->mtu()) == path_mtu_) return;
  spdlog::info("edge {}: packets of {} bytes come through, of {} at most",
               edge_, path_mtu_, own_mtu_);
  replan_.Ask();
  changed_.Ask();
}

absl::StatusOr<Uplink::Way> EdgeLink::Way() const {
  if (!address_) return absl::NotFoundError("no address yet");
  return context_.uplink.WayTo(*address_);
}

// Another network may carry more, or less, at the same MTU of its link.
void EdgeLink::SeeWay() {
  const auto way = Way();
  if (!way.ok()) {  // none now: it may come back as it was
    had_no_way_ = true;
    return;
  }
  if (std::exchange(had_no_way_, false)) ShakeHandsNow();
  const std::optional<Uplink::Way> before = std::exchange(way_, *way);
  if (before && *before != *way) heartbeats_->SearchAnew();
}

// There is a way, or an address to go to, that was not there: WireGuard tries
// again 5 s after a handshake that could not even be sent, and at once with new
// peers. A session that may still be in use is left alone.
void EdgeLink::ShakeHandsNow() {
  const auto device = context_.uplink.Tunnel(device_);
  if (!device.ok()) return;
  const auto oldest = std::chrono::system_clock::now() - kSessionEnds;
  const bool has_session =
      std::ranges::any_of(device->peers, [oldest](const wireguard::Peer& peer) {
        return peer.last_handshake > oldest;
      });
  if (!has_session) MakePeersAnew();
}

void EdgeLink::MakePeersAnew() {
  const absl::Status forgotten = context_.uplink.ForgetPeers(device_);
  if (!forgotten.ok()) {
    spdlog::warn("device {}: {}", device_, Message(forgotten));
  }
  replan_.Ask();
}

// An edge whose host was rebooted has no session any more, and may be kept from
// beginning one. This side, which still has its own, would shake hands 15 s
// later. Where anything at all comes by the tunnel, edged alone is silent.
void EdgeLink::WatchTunnel() {
  if (!heartbeats_ || heartbeats_->is_up()) {
    received_in_silence_.reset();
    made_anew_ = false;
    return;
  }
  const auto device = context_.uplink.Tunnel(device_);
  if (made_anew_ || !device.ok() || enrolment().edge.other) return;
  uint64_t received = 0;
  for (const wireguard::Peer& peer : device->peers) {
    received += peer.received_bytes;
  }
  const auto before = std::exchange(received_in_silence_, received);
  if (before != received) return;
  made_anew_ = true;
  spdlog::info("edge {}: nothing comes by the tunnel; shaking hands anew",
               edge_);
  MakePeersAnew();
}

}  // namespace edged::agent
