#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace edged {

// A token bucket: `burst` at once, then `per_second`. Pure: whoever asks says
// what time it is.
class RateLimit {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  RateLimit(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  // Takes the next token, and says in how long it is there; zero: now. Whoever
  // comes later waits longer.
  Duration Take(TimePoint now) {
    Fill(now);
    tokens_ -= 1;
    if (tokens_ >= 0) return Duration::zero();
    return std::chrono::ceil<std::chrono::milliseconds>(
        std::chrono::duration<double>(-tokens_ / per_second_));
  }

  // Takes a token if one is there.
  bool TryTake(TimePoint now) {
    Fill(now);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

  // Nobody has taken one for a while.
  bool IsFull(TimePoint now) {
    Fill(now);
    return tokens_ >= burst_;
  }

 private:
  void Fill(TimePoint now) {
    if (last_ && now <= *last_) return;
    if (last_) {
      const std::chrono::duration<double> passed = now - *last_;
      tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    }
    last_ = now;
  }

  double per_second_;
  double burst_;
  double tokens_;  // below zero: promised already
  std::optional<TimePoint> last_;
};

}  // namespace edged
