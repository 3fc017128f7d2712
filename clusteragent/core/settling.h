#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "common/protocol/records.h"

namespace edged::agent {

// Whether it is too early to say that an edge does not have what is wanted of
// it: each change is a moment under way, and an edge that goes on answering
// keeps up, however often there is another. Pure.
class Settling {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using State = std::shared_ptr<const protocol::EdgeState>;

  // Without a step of the edge or of its uplinks for so long, they do not.
  static constexpr auto kMoment = std::chrono::seconds(2);

  // What is wanted, what the edge has answered, what an uplink carries, as
  // EdgeReport has them.
  void Note(TimePoint now, const State& wanted, const State& answered,
            const State& carried);

  bool IsSettling(TimePoint now) const { return until_ && now < *until_; }
  // Unset: everything agrees.
  std::optional<TimePoint> until() const { return until_; }

 private:
  State answered_;
  State carried_;
  std::optional<TimePoint> until_;
};

}  // namespace edged::agent
