#pragma once

#include <algorithm>

#include "common/wireguard/device.h"
#include "common/wireguard/diff.h"

// What both WireGuard codecs are asked.

namespace edged::fuzz {

// A device has each peer once; what claims otherwise cannot be written again.
inline bool PeersAreUnique(const wireguard::Device& device) {
  return std::ranges::adjacent_find(device.peers, {}, &wireguard::Peer::key) ==
         device.peers.end();
}

// What makes `device` from nothing, without the peers' endpoints being judged.
inline wireguard::DeviceChange Making(const wireguard::Device& device) {
  wireguard::DeviceChange change;
  change.private_key = device.private_key;
  change.listen_port = device.listen_port;
  change.fwmark = device.fwmark;
  for (const wireguard::Peer& peer : device.peers) {
    change.changed_peers.push_back(
        {.key = peer.key,
         .is_new = true,
         .endpoint = peer.endpoint,
         .allowed_ips = peer.allowed_ips,
         .keepalive_seconds = peer.keepalive_seconds});
  }
  return change;
}

// What a change sets, the rest left out.
inline wireguard::Device SetPartOf(wireguard::Device device) {
  device.public_key = {};
  for (wireguard::Peer& peer : device.peers) {
    peer.last_handshake = {};
    peer.received_bytes = peer.sent_bytes = 0;
  }
  return device;
}

}  // namespace edged::fuzz
