#include "common/wireguard/diff.h"

#include <catch2/catch.hpp>
#include <map>

#include "tests/common/wireguard/devices.h"

namespace edged::wireguard {
namespace {

Peer Uplink(uint8_t key, std::initializer_list<std::string_view> prefixes) {
  return {.key = Key(key), .allowed_ips = Prefixes(prefixes)};
}

Device DeviceOf(std::vector<Peer> peers) {
  return {.name = "edged0", .peers = std::move(peers)};
}

// What WireGuard does with a change: lists are replaced one peer after the
// other, and a prefix that is given to a peer leaves the one that had it.
Device Applied(Device device, const DeviceChange& change) {
  if (change.private_key) device.private_key = *change.private_key;
  if (change.listen_port) device.listen_port = *change.listen_port;
  if (change.fwmark) device.fwmark = *change.fwmark;
  std::map<PublicKey, Peer> peers;
  for (const Peer& peer : device.peers) peers[peer.key] = peer;
  for (const PublicKey& key : change.removed_peers) peers.erase(key);
  for (const PeerChange& next : change.changed_peers) {
    if (!next.is_new && !peers.contains(next.key)) continue;
    Peer& peer = peers[next.key];
    peer.key = next.key;
    if (next.endpoint) peer.endpoint = next.endpoint;
    if (next.keepalive_seconds)
      peer.keepalive_seconds = *next.keepalive_seconds;
    if (!next.allowed_ips) continue;
    for (const IpPrefix& prefix : *next.allowed_ips) {
      for (auto& [key, other] : peers) std::erase(other.allowed_ips, prefix);
    }
    peer.allowed_ips = *next.allowed_ips;
  }
  device.peers.clear();
  for (auto& [key, peer] : peers) device.peers.push_back(peer);
  return device;
}

TEST_CASE("wireguard_diff: the same device needs nothing", "[wireguard_diff]") {
  const DeviceChange change = Diff(FullDevice(), FullDevice());
  CHECK(change.empty());
  CHECK(change.ToString() == "");
}

TEST_CASE("wireguard_diff: what is only observed is no difference",
          "[wireguard_diff]") {
  Device wanted = FullDevice();
  wanted.public_key = {};
  for (Peer& peer : wanted.peers) {
    peer.last_handshake = {};
    peer.received_bytes = peer.sent_bytes = 0;
  }
  CHECK(Diff(FullDevice(), wanted).empty());
}

TEST_CASE("wireguard_diff: a new device gets everything", "[wireguard_diff]") {
  CHECK(Diff({}, FullDevice()).ToString() ==
        "private key of " + Secret(0x40).Public().Short() +
            "\n"
            "listen port 51820\n"
            "fwmark 0xed\n"
            "peer AQEBAQEB new: endpoint 192.0.2.7:1024, allowed ips "
            "10.200.0.16/28 fd00::10/124, keepalive 25 s\n"
            "peer AgICAgIC new: endpoint [2001:db8::1]:51821, allowed ips "
            "0.0.0.0/0 ::/0, keepalive 0 s\n"
            "peer AwMDAwMD new: allowed ips none, keepalive 0 s\n");
}

TEST_CASE("wireguard_diff: the text of a change holds no secret",
          "[wireguard_diff]") {
  const std::string text = Diff({}, FullDevice()).ToString();
  CHECK(text.find(Secret(0x40).Reveal()) == std::string::npos);
  CHECK(text.find(Secret(0x40).Reveal().substr(0, 8)) == std::string::npos);
}

TEST_CASE("wireguard_diff: a key that WireGuard clamped is the same key",
          "[wireguard_diff]") {
  std::array<uint8_t, kKeySize> bytes;
  bytes.fill(0xff);
  const PrivateKey unclamped{bytes};
  bytes[0] &= 248;
  bytes[31] &= 127;
  const PrivateKey clamped{bytes};
  REQUIRE(clamped != unclamped);
  CHECK(Diff({.private_key = clamped}, {.private_key = unclamped}).empty());
  CHECK(Diff({}, {.private_key = unclamped}).private_key == unclamped);
  CHECK(Diff({.private_key = clamped}, {}).ToString() ==
        "private key removed\n");
}

TEST_CASE("wireguard_diff: a wanted port 0 accepts the port the kernel chose",
          "[wireguard_diff]") {
  Device wanted = FullDevice();
  wanted.listen_port = 0;
  CHECK(Diff(FullDevice(), wanted).empty());
  wanted.listen_port = 51999;
  CHECK(Diff(FullDevice(), wanted).ToString() == "listen port 51999\n");
}

TEST_CASE("wireguard_diff: a firewall mark can be taken back",
          "[wireguard_diff]") {
  Device wanted = FullDevice();
  wanted.fwmark = 0;
  CHECK(Diff(FullDevice(), wanted).ToString() == "fwmark 0x0\n");
}

TEST_CASE("wireguard_diff: peers come, change and go", "[wireguard_diff]") {
  const Device observed =
      DeviceOf({Uplink(1, {"10.200.0.16/28"}), Uplink(2, {"10.200.0.32/28"}),
                Uplink(3, {"10.200.0.48/28"})});
  Device wanted =
      DeviceOf({Uplink(2, {"10.200.0.32/28"}), Uplink(3, {"10.200.0.48/28"}),
                Uplink(4, {"10.200.0.64/28"})});
  wanted.peers[1].keepalive_seconds = 25;
  const DeviceChange change = Diff(observed, wanted);
  CHECK(change.ToString() ==
        "peer AQEBAQEB removed\n"
        "peer AwMDAwMD: keepalive 25 s\n"
        "peer BAQEBAQE new: allowed ips 10.200.0.64/28, keepalive 0 s\n");
  CHECK(Diff(Applied(observed, change), wanted).empty());
}

TEST_CASE("wireguard_diff: order and repetition of allowed ips do not matter",
          "[wireguard_diff]") {
  CHECK(Diff(DeviceOf({Uplink(1, {"10.0.0.0/8", "fd00::/8"})}),
             DeviceOf({Uplink(1, {"fd00::/8", "10.0.0.0/8", "fd00::/8"})}))
            .empty());
}

TEST_CASE("wireguard_diff: a moved prefix goes to its new peer first",
          "[wireguard_diff]") {
  const Device observed = DeviceOf(
      {Uplink(1, {"10.0.0.0/28", "10.0.0.16/28"}), Uplink(2, {"10.0.1.0/28"})});
  const Device wanted = DeviceOf(
      {Uplink(1, {"10.0.0.0/28"}), Uplink(2, {"10.0.0.16/28", "10.0.1.0/28"})});
  const DeviceChange change = Diff(observed, wanted);
  CHECK(change.ToString() ==
        "peer AgICAgIC: allowed ips 10.0.0.16/28 10.0.1.0/28\n"
        "peer AQEBAQEB: allowed ips 10.0.0.0/28\n");
  CHECK(Diff(Applied(observed, change), wanted).empty());
}

TEST_CASE("wireguard_diff: prefixes moved in a circle end right",
          "[wireguard_diff]") {
  const Device observed =
      DeviceOf({Uplink(1, {"10.0.0.0/28"}), Uplink(2, {"10.0.1.0/28"}),
                Uplink(3, {"10.0.2.0/28"})});
  const Device wanted =
      DeviceOf({Uplink(1, {"10.0.1.0/28"}), Uplink(2, {"10.0.2.0/28"}),
                Uplink(3, {"10.0.0.0/28"})});
  CHECK(Diff(Applied(observed, Diff(observed, wanted)), wanted).empty());
}

TEST_CASE("wireguard_diff: a prefix of a removed peer can go to another",
          "[wireguard_diff]") {
  const Device observed =
      DeviceOf({Uplink(1, {"10.0.0.0/28"}), Uplink(2, {"10.0.1.0/28"})});
  const Device wanted =
      DeviceOf({Uplink(2, {"10.0.1.0/28"}), Uplink(3, {"10.0.0.0/28"})});
  CHECK(Diff(Applied(observed, Diff(observed, wanted)), wanted).empty());
}

TEST_CASE("wireguard_diff: a roamed endpoint is not drift",
          "[wireguard_diff]") {
  Device observed = FullDevice();
  observed.peers[0].endpoint = Endpoint("198.51.100.1:9999");
  CHECK(Diff(observed, FullDevice()).empty());
  Device any = FullDevice();
  for (Peer& peer : any.peers) peer.endpoint.reset();
  CHECK(Diff(observed, any).empty());
  CHECK(Diff(observed, any, /*force_endpoints=*/true).empty());
}

TEST_CASE("wireguard_diff: dialling anew sets the endpoints that are wanted",
          "[wireguard_diff]") {
  Device wanted = FullDevice();
  wanted.peers[0].endpoint = Endpoint("198.51.100.1:51820");
  CHECK(Diff(FullDevice(), wanted, /*force_endpoints=*/true).ToString() ==
        "peer AQEBAQEB: endpoint 198.51.100.1:51820\n"
        "peer AgICAgIC: endpoint [2001:db8::1]:51821\n");
}

TEST_CASE("wireguard_diff: a peer that lost its endpoint gets it back",
          "[wireguard_diff]") {
  Device observed = FullDevice();
  observed.peers[0].endpoint.reset();
  CHECK(Diff(observed, FullDevice()).ToString() ==
        "peer AQEBAQEB: endpoint 192.0.2.7:1024\n");
}

}  // namespace
}  // namespace edged::wireguard
