#include "tests/fakes/fake_wireguard_client.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace edged::wireguard {

absl::Status FakeClient::Ensure(const std::string& name) {
  RETURN_IF_ERROR(CheckDeviceName(name));
  RETURN_IF_ERROR(rtnetlink_.CreateLink(name, "veth"));
  devices_.try_emplace(name, Device{.name = name});
  return absl::OkStatus();
}

absl::StatusOr<Device> FakeClient::Get(const std::string& name) {
  const auto device = devices_.find(name);
  if (device == devices_.end()) {
    return absl::NotFoundError(fmt::format("no device {}", name));
  }
  return device->second;
}

absl::Status FakeClient::Apply(const std::string& name,
                               const DeviceChange& change) {
  if (!failure_.ok()) return std::exchange(failure_, absl::OkStatus());
  const auto found = devices_.find(name);
  if (found == devices_.end()) {
    return absl::NotFoundError(fmt::format("no device {}", name));
  }
  ++applied_;
  Device& device = found->second;
  if (change.private_key) {
    device.private_key = *change.private_key;
    device.public_key = change.private_key->Public();
  }
  if (change.listen_port) device.listen_port = *change.listen_port;
  if (change.fwmark) device.fwmark = *change.fwmark;
  std::erase_if(device.peers, [&change](const Peer& peer) {
    return std::ranges::find(change.removed_peers, peer.key) !=
           change.removed_peers.end();
  });
  for (const PeerChange& wanted : change.changed_peers) {
    auto peer =
        std::ranges::lower_bound(device.peers, wanted.key, {}, &Peer::key);
    const bool known = peer != device.peers.end() && peer->key == wanted.key;
    if (!known && !wanted.is_new) continue;
    if (!known) peer = device.peers.insert(peer, Peer{.key = wanted.key});
    if (wanted.endpoint) peer->endpoint = wanted.endpoint;
    if (wanted.keepalive_seconds) {
      peer->keepalive_seconds = *wanted.keepalive_seconds;
    }
    if (!wanted.allowed_ips) continue;
    for (Peer& other : device.peers) {
      std::erase_if(other.allowed_ips, [&wanted](const IpPrefix& prefix) {
        return std::ranges::find(*wanted.allowed_ips, prefix) !=
               wanted.allowed_ips->end();
      });
    }
    peer->allowed_ips = *wanted.allowed_ips;
    std::ranges::sort(peer->allowed_ips);
  }
  return absl::OkStatus();
}

absl::Status FakeClient::Remove(const std::string& name) {
  devices_.erase(name);
  return rtnetlink_.DeleteLink(name);
}

}  // namespace edged::wireguard
