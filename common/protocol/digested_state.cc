#include "common/protocol/digested_state.h"

#include <utility>
#include <vector>

namespace edged::protocol {
namespace {

// One walk over two sorted lists; right in whatever order, only dearer.
template <typename Record>
void Follow(const std::vector<Record>& from, const std::vector<Record>& to,
            Digest& digest) {
  auto old = from.begin();
  for (const Record& record : to) {
    while (old != from.end() && *old < record) digest.Remove(*old++);
    if (old != from.end() && *old == record) {
      ++old;
    } else {
      digest.Add(record);
    }
  }
  for (; old != from.end(); ++old) digest.Remove(*old);
}

Digest DigestAfter(const DigestedState& before, const EdgeState& state) {
  const EdgeState& from = before.state();
  Digest digest = before.digest();
  if (from.settings != state.settings) {
    digest.Remove(from.settings);
    digest.Add(state.settings);
  }
  Follow(from.uplinks, state.uplinks, digest);
  Follow(from.groups, state.groups, digest);
  Follow(from.mappings, state.mappings, digest);
  return digest;
}

}  // namespace

DigestedState::DigestedState(EdgeState state, const DigestedState* before)
    : state_(std::move(state)),
      digest_(before == nullptr ? DigestOf(state_)
                                : DigestAfter(*before, state_)) {}

std::shared_ptr<const EdgeState> StateOf(const SharedState& digested) {
  if (!digested) return nullptr;
  return {digested, &digested->state()};
}

}  // namespace edged::protocol
