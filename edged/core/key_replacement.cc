#include "edged/core/key_replacement.h"

namespace edged::edge {

using Phase = OwnKeys::Phase;

const PrivateKey& KeyReplacement::DeviceKey() const {
  const bool next = keys.phase == Phase::kSwitching && next_has_turn;
  return next ? keys.next : keys.key;
}

PublicKey KeyReplacement::Subject() const {
  return keys.phase == Phase::kInUse ? keys.key.Public() : keys.next.Public();
}

KeyReplacement Resumed(const OwnKeys& keys, KeyReplacement::SteadyTime now) {
  return {.keys = keys, .turn_ends = now + kKeyTurn};
}

KeyReplacement Propose(KeyReplacement state, const PrivateKey& fresh) {
  if (state.keys.phase != Phase::kInUse) return state;
  state.keys.phase = Phase::kProposed;
  state.keys.next = fresh;
  return state;
}

KeyReplacement AgentStored(KeyReplacement state, const PublicKey& key,
                           std::chrono::system_clock::time_point wall,
                           KeyReplacement::SteadyTime now) {
  if (state.keys.phase != Phase::kProposed || key != state.Subject()) {
    return state;
  }
  state.keys.phase = Phase::kSwitching;
  state.keys.switched = wall;
  state.next_has_turn = true;
  state.turn_ends = now + kKeyTurn;
  return state;
}

KeyReplacement ShookHands(KeyReplacement state) {
  if (state.keys.phase != Phase::kSwitching) return state;
  return {.keys = {.key = state.DeviceKey()}};
}

KeyReplacement TimePassed(KeyReplacement state,
                          KeyReplacement::SteadyTime now) {
  if (state.keys.phase != Phase::kSwitching || now < state.turn_ends) {
    return state;
  }
  state.next_has_turn = !state.next_has_turn;
  state.turn_ends = now + kKeyTurn;
  return state;
}

}  // namespace edged::edge
