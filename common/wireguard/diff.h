#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/wireguard/device.h"

// The changes that turn one device into another without restarting it. Pure.

namespace edged::wireguard {

struct PeerChange {
  PublicKey key;
  // false: does nothing when the peer has gone meanwhile (neither backend calls
  // that an error); the next Diff finds it missing.
  bool is_new = false;
  std::optional<SocketAddress> endpoint;
  // Replaces the whole list when set.
  std::optional<std::vector<IpPrefix>> allowed_ips;
  std::optional<uint16_t> keepalive_seconds;
  bool operator==(const PeerChange&) const = default;
};

struct DeviceChange {
  std::optional<PrivateKey> private_key;
  std::optional<uint16_t> listen_port;
  std::optional<uint32_t> fwmark;
  std::vector<PublicKey> removed_peers;  // applied before changed_peers
  // In this order. Peers that only lose prefixes come last, so that a prefix
  // moves from peer to peer in one step.
  std::vector<PeerChange> changed_peers;

  bool empty() const;
  // One line per change ("peer a1b2c3d4: allowed ips 10.200.0.16/28"), without
  // secrets.
  std::string ToString() const;
  bool operator==(const DeviceChange&) const = default;
};

// `wanted` peers without an endpoint accept any: endpoints that roam are not
// drift. A wanted endpoint is set only on a peer that has none (a new one
// among them), or always with `force_endpoints`, also when it is the same: to
// be used once when the dialled address or an own address changed (wireguard-go
// goes on sending from the lost address for 15 s, until an endpoint is set). A
// wanted listen port 0 accepts any. No prefix may be wanted for two peers.
DeviceChange Diff(const Device& observed, const Device& wanted,
                  bool force_endpoints = false);

}  // namespace edged::wireguard
