#pragma once

#include <memory>

#include "common/protocol/digest.h"
#include "common/protocol/records.h"

namespace edged::protocol {

// A state that stands, with its digest. The next one's digest is made of it:
// only records that one of the two lacks are hashed.
class DigestedState {
 public:
  // `before` is any state, the nearer the cheaper; null: every record of
  // `state` is hashed.
  explicit DigestedState(EdgeState state,
                         const DigestedState* before = nullptr);

  const EdgeState& state() const { return state_; }
  const Digest& digest() const { return digest_; }

 private:
  EdgeState state_;
  Digest digest_;
};

using SharedState = std::shared_ptr<const DigestedState>;

// The state alone, which keeps the whole; null of null.
std::shared_ptr<const EdgeState> StateOf(const SharedState& digested);

}  // namespace edged::protocol
