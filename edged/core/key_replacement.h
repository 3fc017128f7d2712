#pragma once

#include <chrono>

#include "common/keys.h"

// How the edge replaces its WireGuard key: as plain values, what happens and
// what follows from it. The shell (edged/edge_keys) writes down what is stored
// before it says or does what follows. Pure.
//
//   kInUse ──Propose──► kProposed ──AgentStored──► kSwitching ──ShookHands──┐
//      ▲                                             │ ▲                    │
//      │                              TimePassed: the device has the next   │
//      │                              key and the one before in turn        │
//      └──────────── with the next key, or with the one before ◄────────────┘

namespace edged::edge {

// A turn of one key without a handshake. The agent tries both all the time.
inline constexpr auto kKeyTurn = std::chrono::seconds(30);

// What is on disk.
struct OwnKeys {
  enum class Phase { kInUse, kProposed, kSwitching };

  Phase phase = Phase::kInUse;
  PrivateKey key;   // in use, or before the switch
  PrivateKey next;  // zero while kInUse
  // Of kSwitching: a handshake of the next key is later.
  std::chrono::system_clock::time_point switched{};
  bool operator==(const OwnKeys&) const = default;
};

struct KeyReplacement {
  using SteadyTime = std::chrono::steady_clock::time_point;

  OwnKeys keys;
  // Of kSwitching: whose turn it is and until when. A new process begins with
  // the next key.
  bool next_has_turn = true;
  SteadyTime turn_ends{};
  bool operator==(const KeyReplacement&) const = default;

  // What the device must have.
  const PrivateKey& DeviceKey() const;
  // What the agent must know: the key that the phase is about.
  PublicKey Subject() const;
};

// What was on disk, in a process that begins now.
KeyReplacement Resumed(const OwnKeys& keys, KeyReplacement::SteadyTime now);

// Begins with `fresh`; while one is under way, nothing changes.
KeyReplacement Propose(KeyReplacement state, const PrivateKey& fresh);

// The agent says that it has written `key` down. Of any other key than the
// proposed one, and when it says so again: nothing changes.
KeyReplacement AgentStored(KeyReplacement state, const PublicKey& key,
                           std::chrono::system_clock::time_point wall,
                           KeyReplacement::SteadyTime now);

// An agent has shaken hands by the key whose turn it is. That key stays; the
// other one is gone for ever.
KeyReplacement ShookHands(KeyReplacement state);

// At the end of its turn a key gives way to the other one.
KeyReplacement TimePassed(KeyReplacement state, KeyReplacement::SteadyTime now);

}  // namespace edged::edge
