#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace edged::kube {

// A token bucket: `burst` calls at once, then `per_second`. Pure: whoever asks
// says what time it is.
class RateLimit {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  RateLimit(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  // Takes the next token, and says in how long it is there; zero: now. Whoever
  // comes later waits longer.
  Duration Take(TimePoint now) {
    if (last_ && now > *last_) {
      const std::chrono::duration<double> passed = now - *last_;
      tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    }
    if (!last_ || now > *last_) last_ = now;
    tokens_ -= 1;
    if (tokens_ >= 0) return Duration::zero();
    return std::chrono::ceil<std::chrono::milliseconds>(
        std::chrono::duration<double>(-tokens_ / per_second_));
  }

 private:
  double per_second_;
  double burst_;
  double tokens_;  // below zero: promised already
  std::optional<TimePoint> last_;
};

}  // namespace edged::kube
