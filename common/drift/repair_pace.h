#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "common/drift/drift.h"

namespace edged {

// How often repairs may be made, so that whoever changes what is ours again and
// again does not take the loop from everything else: a token bucket of the
// loop's time, half a second deep, that fills by a fifth of the time. A repair
// costs what it took, at least 10 ms: 50 at once, then 20 a second when they
// are quick. Pure: the caller brings the time.
class RepairPace {
 public:
  using Duration = std::chrono::steady_clock::duration;
  using Time = std::chrono::steady_clock::time_point;

  static constexpr Duration kDepth = std::chrono::milliseconds(500);
  static constexpr Duration kLeastCost = std::chrono::milliseconds(10);
  static constexpr int kShare = 5;  // one fifth

  // How long a repair must wait; zero: it may begin. The first that must wait
  // begins a flood of changes `by`.
  Duration WaitFor(Time now, const Culprit& by);
  // A repair that answered so many changes is done.
  void Repaired(Time now, Duration took, uint64_t changes);

  // What is told of the flood while it lasts; nullptr: there is none.
  const Flood* flood() const { return flood_ ? &*flood_ : nullptr; }
  // The flood, when it is over: the bucket is half full again. Told once.
  std::optional<Flood> TakeEnd(Time now);

 private:
  void Fill(Time now);

  Duration tokens_ = kDepth;  // below zero after an expensive repair
  std::optional<Time> filled_;
  std::optional<Flood> flood_;
  Time flood_began_;
};

}  // namespace edged
