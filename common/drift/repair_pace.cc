#include "common/drift/repair_pace.h"

#include <algorithm>
#include <utility>

namespace edged {

void RepairPace::Fill(Time now) {
  if (filled_ && now > *filled_) {
    tokens_ = std::min(tokens_ + (now - *filled_) / kShare, kDepth);
  }
  filled_ = now;
}

RepairPace::Duration RepairPace::WaitFor(Time now, const Culprit& by) {
  Fill(now);
  if (tokens_ >= kLeastCost) return Duration::zero();
  if (!flood_) {
    flood_ = Flood{.by = by};
    flood_began_ = now;
  }
  return (kLeastCost - tokens_) * kShare;
}

void RepairPace::Repaired(Time now, Duration took, uint64_t changes) {
  Fill(now);
  tokens_ -= std::max(took, kLeastCost);
  if (!flood_) return;
  ++flood_->repairs;
  flood_->changes += changes;
}

std::optional<Flood> RepairPace::TakeEnd(Time now) {
  Fill(now);
  if (!flood_ || tokens_ < kDepth / 2) return std::nullopt;
  flood_->over = true;
  flood_->lasted = now - flood_began_;
  return std::exchange(flood_, std::nullopt);
}

}  // namespace edged
