#include "edged/core/wireguard_plan.h"

#include <algorithm>

namespace edged::edge {

wireguard::Device WantedDevice(const TunnelIdentity& identity,
                               const EdgeModel& model, const HostFacts& facts,
                               const Endpoints& endpoints) {
  wireguard::Device device{.name = facts.device,
                           .private_key = identity.key,
                           .listen_port = facts.limits.listen_port};
  std::map<PublicKey, wireguard::Peer> peers;
  const auto allow = [&](const PublicKey& key, const IpPrefix& prefix) {
    wireguard::Peer& peer = peers[key];
    peer.key = key;
    peer.allowed_ips.push_back(prefix);
    const auto endpoint = endpoints.find(key);
    if (endpoint != endpoints.end()) peer.endpoint = endpoint->second;
  };
  if (!identity.control_key.is_zero()) {
    allow(identity.control_key,
          IpPrefix::Host(facts.limits.overlay.ControlAddress()));
  }
  for (const auto& [name, uplink] : model.uplinks()) {
    for (const Family family : facts.families()) {
      allow(uplink.key, facts.OverlayOf(family)->BlockPrefix(uplink.block));
    }
  }
  for (auto& [key, peer] : peers) {
    std::ranges::sort(peer.allowed_ips);
    device.peers.push_back(std::move(peer));
  }
  return device;
}

wireguard::DeviceChange SilentPeersAnew(const wireguard::Device& observed,
                                        const wireguard::Device& wanted) {
  wireguard::DeviceChange change;
  for (const wireguard::Peer& peer : wanted.peers) {
    const auto found =
        std::ranges::find(observed.peers, peer.key, &wireguard::Peer::key);
    if (found == observed.peers.end() || !found->endpoint ||
        found->last_handshake != decltype(found->last_handshake)()) {
      continue;
    }
    change.removed_peers.push_back(peer.key);
    change.changed_peers.push_back(
        {.key = peer.key,
         .is_new = true,
         .endpoint = found->endpoint,
         .allowed_ips = peer.allowed_ips,
         .keepalive_seconds = peer.keepalive_seconds});
  }
  return change;
}

}  // namespace edged::edge
