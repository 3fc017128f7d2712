#pragma once

#include <map>
#include <string>

#include "common/keys.h"
#include "common/net_types.h"
#include "common/wireguard/device.h"
#include "common/wireguard/diff.h"
#include "edged/core/edge_model.h"
#include "edged/core/host_facts.h"

namespace edged::edge {

// What joining gave this edge.
struct TunnelIdentity {
  PrivateKey key;
  PublicKey control_key;  // the peer that introduces agents; zero: none
};

// Last known endpoints, from the state file or the device itself.
using Endpoints = std::map<PublicKey, SocketAddress>;

// The device as it should be: the control peer with the control address alone,
// each uplink with its block of either family. No keepalive: uplinks sit behind
// NAT and send their own. Stored endpoints let this side speak first after a
// restart; a peer that has an endpoint already keeps it (wireguard::Diff).
// Pure.
wireguard::Device WantedDevice(const TunnelIdentity& identity,
                               const EdgeModel& model, const HostFacts& facts,
                               const Endpoints& endpoints);

// Makes the peers anew that nobody has shaken hands with. WireGuard tries again
// 5 s after a handshake that found no way, or whose answer was lost; a new peer
// tries with the next packet to it. Pure.
wireguard::DeviceChange SilentPeersAnew(const wireguard::Device& observed,
                                        const wireguard::Device& wanted);

}  // namespace edged::edge
