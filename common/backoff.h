#pragma once

#include <chrono>
#include <cstdint>

namespace edged {

// Exponential backoff with jitter: each delay is drawn from half to the whole
// of a ceiling that doubles from `first` up to `most`.
class Backoff {
 public:
  using Duration = std::chrono::milliseconds;

  Backoff(Duration first, Duration most) : first_(first), most_(most) {}
  Duration Next();
  void Reset() { attempts_ = 0; }
  int attempts() const { return attempts_; }

 private:
  Duration first_;
  Duration most_;
  int attempts_ = 0;
};

}  // namespace edged
