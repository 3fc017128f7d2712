#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstddef>

namespace edged::edge {

// How many calls of a kind may be under way at once. Thread-safe.
class CallLimit {
 public:
  explicit CallLimit(int most) : free_(most) {}
  bool Take() {
    if (free_.fetch_sub(1) > 0) return true;
    free_.fetch_add(1);
    return false;
  }
  void Give() { free_.fetch_add(1); }

 private:
  std::atomic<int> free_;
};

// How many bytes of answers may wait for those who asked. Thread-safe.
class ByteLimit {
 public:
  explicit ByteLimit(size_t most) : most_(most) {}
  // One alone is never too large.
  bool Take(size_t bytes) {
    const size_t others = taken_.fetch_add(bytes);
    if (others == 0 || others + bytes <= most_) return true;
    taken_.fetch_sub(bytes);
    return false;
  }
  void Give(size_t bytes) { taken_.fetch_sub(bytes); }

 private:
  const size_t most_;
  std::atomic<size_t> taken_ = 0;
};

inline grpc::Status TooManyCalls() {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          "too many calls of this kind are under way"};
}

// A call that is not begun, as one beyond the limit: ends at once, without the
// loop.
template <typename Reactor>
class RefusedCall final : public Reactor {
 public:
  explicit RefusedCall(const grpc::Status& why = TooManyCalls()) {
    this->Finish(why);
  }
  void OnDone() override { delete this; }
};

}  // namespace edged::edge
