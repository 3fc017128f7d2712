#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

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
