#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/backoff.h"

namespace edged::kube {

// How fast to go above terms that edges have seen and our Lease has not counted
// to. What an edge says for the first time is of a cluster that came back from
// a backup, or of a Lease that was lost: gone above at once. Where the same
// edge then sees a still higher one, another leader counts by another Lease;
// each would outbid the other for ever. Then there is a pause before each step,
// which grows from two terms of a lease to ten minutes, and begins anew with an
// edge that forgot what it had seen, or when there was peace for half an hour.
// Does nothing itself.
class TermContest {
 public:
  using Clock = std::chrono::steady_clock;
  using Duration = std::chrono::milliseconds;

  // Three times as long as whoever we contend with waits at most.
  static constexpr std::chrono::minutes kPeace{30};

  explicit TermContest(Duration lease)
      : backoff_(2 * lease, std::chrono::minutes(10)) {}

  // `edge` has seen `term`, and ours is not above it. How long to wait before
  // it is; nothing: this was heard already.
  std::optional<Duration> Hear(const std::string& edge, int64_t term,
                               Clock::time_point now = Clock::now());

 private:
  Backoff backoff_;
  std::map<std::string, int64_t> seen_;  // by edge
  Clock::time_point raised_;             // when an edge last saw a higher term
};

}  // namespace edged::kube
