#include "clusteragent/core/key_replacement.h"

#include <utility>

namespace edged::agent {
namespace {

using Phase = EdgeKeyNotice::Phase;

bool Knows(const KnownEdgeKeys& known, const PublicKey& key) {
  return known.key == key || known.other == key;
}

void TurnToOther(KeyFollower& state) {
  std::swap(state.known.key, *state.known.other);
  state.left_other = true;
  state.follow_at.reset();
}

}  // namespace

KeyFollower Noticed(KeyFollower state, const EdgeKeyNotice& notice,
                    KeyFollower::SteadyTime now) {
  switch (notice.phase) {
    case Phase::kInUse:
      return {.known = {notice.key, {}}};
    case Phase::kProposed:
      if (!Knows(state.known, notice.key)) {
        return {.known = {notice.in_use, notice.key}};
      }
      break;
    case Phase::kSwitching:
      if (state.known.other == notice.key && !state.follow_at) {
        state.follow_at = now + kFollowDelay;
      }
      break;
  }
  return state;
}

bool ShouldAnswer(const KeyFollower& state, const EdgeKeyNotice& notice) {
  return notice.phase == Phase::kProposed && Knows(state.known, notice.key);
}

KeyFollower Observed(KeyFollower state,
                     std::optional<KeyFollower::SteadyTime> silent_since,
                     const std::optional<PublicKey>& newest,
                     KeyFollower::SteadyTime now) {
  if (!state.known.other) return state;
  if (state.follow_at && now >= *state.follow_at) {
    TurnToOther(state);
    return state;
  }
  const bool was_seeking = state.seeking;
  state.seeking = silent_since && now - *silent_since >= kSeekAfter;
  if (!state.seeking) return state;
  // The silent one is left at once: what waits in the edge's device comes with
  // the first handshake, and must find everything at that peer.
  if (was_seeking ? newest == state.known.other : newest != state.known.key) {
    TurnToOther(state);
  }
  return state;
}

}  // namespace edged::agent
