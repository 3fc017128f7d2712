#include "common/wireguard/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace edged::wireguard {
namespace {

std::vector<IpPrefix> Sorted(std::vector<IpPrefix> prefixes) {
  std::ranges::sort(prefixes);
  // Not std::ranges::unique: clang 14 cannot compile libstdc++ 12's.
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  return prefixes;
}

// WireGuard clamps a key that it is given (RFC 7748, section 5), and returns it
// so.
bool SameIdentity(const PrivateKey& a, const PrivateKey& b) {
  if (a.is_zero() || b.is_zero()) return a == b;
  return a == b || a.Public() == b.Public();
}

PeerChange Added(const Peer& wanted) {
  return {.key = wanted.key,
          .is_new = true,
          .endpoint = wanted.endpoint,
          .allowed_ips = Sorted(wanted.allowed_ips),
          .keepalive_seconds = wanted.keepalive_seconds};
}

PeerChange Changed(const Peer& observed, const Peer& wanted,
                   bool force_endpoints) {
  PeerChange change{.key = wanted.key};
  // A peer without an endpoint has not roamed; it was made without one.
  if (wanted.endpoint && (force_endpoints || !observed.endpoint)) {
    change.endpoint = wanted.endpoint;
  }
  if (std::vector<IpPrefix> prefixes = Sorted(wanted.allowed_ips);
      prefixes != Sorted(observed.allowed_ips)) {
    change.allowed_ips = std::move(prefixes);
  }
  if (wanted.keepalive_seconds != observed.keepalive_seconds) {
    change.keepalive_seconds = wanted.keepalive_seconds;
  }
  return change;
}

bool IsEmpty(const PeerChange& change) {
  return !change.is_new && !change.endpoint && !change.allowed_ips &&
         !change.keepalive_seconds;
}

std::string Line(const PeerChange& change) {
  std::string line = fmt::format("peer {}{}: ", change.key.Short(),
                                 change.is_new ? " new" : "");
  std::string_view separator;
  const auto add = [&line, &separator](std::string_view text) {
    line += fmt::format("{}{}", separator, text);
    separator = ", ";
  };
  if (change.endpoint) {
    add(fmt::format("endpoint {}", change.endpoint->ToString()));
  }
  if (change.allowed_ips) {
    std::string prefixes;
    for (const IpPrefix& prefix : *change.allowed_ips) {
      prefixes += " " + prefix.ToString();
    }
    add(fmt::format("allowed ips{}", prefixes.empty() ? " none" : prefixes));
  }
  if (change.keepalive_seconds) {
    add(fmt::format("keepalive {} s", *change.keepalive_seconds));
  }
  return line + "\n";
}

}  // namespace

bool DeviceChange::empty() const { return *this == DeviceChange(); }

std::string DeviceChange::ToString() const {
  std::string text;
  if (private_key) {
    text += private_key->is_zero() ? "private key removed\n"
                                   : fmt::format("private key of {}\n",
                                                 private_key->Public().Short());
  }
  if (listen_port) text += fmt::format("listen port {}\n", *listen_port);
  if (fwmark) text += fmt::format("fwmark {:#x}\n", *fwmark);
  for (const PublicKey& key : removed_peers) {
    text += fmt::format("peer {} removed\n", key.Short());
  }
  for (const PeerChange& change : changed_peers) text += Line(change);
  return text;
}

DeviceChange Diff(const Device& observed, const Device& wanted,
                  bool force_endpoints) {
  DeviceChange change;
  if (!SameIdentity(observed.private_key, wanted.private_key)) {
    change.private_key = wanted.private_key;
  }
  // Port 0 asks for any port, and the device has one.
  if (wanted.listen_port != 0 && wanted.listen_port != observed.listen_port) {
    change.listen_port = wanted.listen_port;
  }
  if (wanted.fwmark != observed.fwmark) change.fwmark = wanted.fwmark;

  std::map<PublicKey, const Peer*> before;
  for (const Peer& peer : observed.peers) before[peer.key] = &peer;
  std::map<PublicKey, const Peer*> after;
  for (const Peer& peer : wanted.peers) after[peer.key] = &peer;
  for (const auto& [key, peer] : before) {
    if (!after.contains(key)) change.removed_peers.push_back(key);
  }
  // Giving a prefix to a peer takes it from its old one in one step; taken
  // away first, packets to it would find no peer for a moment.
  std::vector<PeerChange> losing;
  for (const auto& [key, peer] : after) {
    const auto old = before.find(key);
    const bool is_new = old == before.end();
    PeerChange next =
        is_new ? Added(*peer) : Changed(*old->second, *peer, force_endpoints);
    if (IsEmpty(next)) continue;
    const bool loses_only =
        !is_new && next.allowed_ips &&
        std::ranges::includes(Sorted(old->second->allowed_ips),
                              *next.allowed_ips);
    (loses_only ? losing : change.changed_peers).push_back(std::move(next));
  }
  std::ranges::move(losing, std::back_inserter(change.changed_peers));
  return change;
}

}  // namespace edged::wireguard
