#pragma once

#include <chrono>
#include <optional>

#include "common/keys.h"

// How an uplink follows an edge that replaces its WireGuard key: as plain
// values. The shell (clusteragent/edge_keys) writes down what is stored before
// it answers the edge or lets go of a key. Pure.
//
// A device gives "anything from the edge" (0.0.0.0/0) to one peer only, and an
// edge cannot send by a new key before somebody shakes hands: its packets wait
// in its device. So the edge switches first, and the uplink follows a moment
// later with a new peer that takes everything and shakes hands at once. What
// the uplink still sends to the old peer is read by the edge all the while.
// A peer of the new key that is there too early would let the edge send before
// everything is the new peer's: those packets would be lost.

namespace edged::agent {

// From the edge's word until it is followed: the edge switches within 20 ms,
// and what it sent before arrives.
inline constexpr auto kFollowDelay = std::chrono::milliseconds(60);
// When two heartbeats had no echo and for this time more none comes, the edge
// is sought by both keys. WireGuard alone would try again after 5 s.
inline constexpr auto kSeekAfter = std::chrono::milliseconds(100);

// What the edge says about its key.
struct EdgeKeyNotice {
  enum class Phase { kInUse, kProposed, kSwitching };
  Phase phase = Phase::kInUse;
  PublicKey key;
  PublicKey in_use;  // until then
  bool operator==(const EdgeKeyNotice&) const = default;
};

// What is on disk of one edge.
struct KnownEdgeKeys {
  // By which the edge is reached; zero: not registered yet.
  PublicKey key;
  // The edge proposed it, or had it before: it may have this one now.
  std::optional<PublicKey> other;
  bool operator==(const KnownEdgeKeys&) const = default;
};

struct KeyFollower {
  using SteadyTime = std::chrono::steady_clock::time_point;

  KnownEdgeKeys known;
  // The edge is sought by both keys, the other one first.
  bool seeking = false;
  // The other key was left behind just now: its peer stays until the edge says
  // that it needs it no more.
  bool left_other = false;
  // When the word of the edge is followed.
  std::optional<SteadyTime> follow_at;
  bool operator==(const KeyFollower&) const = default;

  // Whether the other key has a peer, too, with no allowed ips. It shakes hands
  // while `seeking`.
  bool HasOtherPeer() const { return known.other && (seeking || left_other); }
};

// One notice. What the state then knows must be on disk before the answer:
// ShouldAnswer() says whether there is one.
KeyFollower Noticed(KeyFollower state, const EdgeKeyNotice& notice,
                    KeyFollower::SteadyTime now);
// A proposed key is answered by KeyStored, again when it is proposed again.
bool ShouldAnswer(const KeyFollower& state, const EdgeKeyNotice& notice);

// What is seen every now and then. `silent_since`: unset while the edge speaks.
// `newest`: by which key the edge shook hands last; unset when it did not since
// it fell silent.
KeyFollower Observed(KeyFollower state,
                     std::optional<KeyFollower::SteadyTime> silent_since,
                     const std::optional<PublicKey>& newest,
                     KeyFollower::SteadyTime now);

}  // namespace edged::agent
