#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace edged::edge {

// Holds back the threads on which gRPC takes calls in. gRPC 1.51 takes them in,
// at 7 KB each, before any of our code hears of them, and where its other
// threads get no processor it goes on for seconds: two gigabytes were seen.
// Beyond a few calls in a window each waits, so that CallMeter is heard in
// time. Thread-safe.
class CallPace final : public grpc::ContextAllocator {
 public:
  static constexpr int kMostInWindow = 64;
  static constexpr auto kWindow = std::chrono::milliseconds(100);
  static constexpr auto kPause = std::chrono::milliseconds(1);

  grpc::CallbackServerContext* NewCallbackServerContext() override {
    HoldBack();
    return new grpc::CallbackServerContext;
  }
  grpc::GenericCallbackServerContext* NewGenericCallbackServerContext()
      override {
    HoldBack();
    return new grpc::GenericCallbackServerContext;
  }
  void Release(grpc::CallbackServerContext* context) override {
    delete context;
  }
  void Release(grpc::GenericCallbackServerContext* context) override {
    delete context;
  }

 private:
  void HoldBack() {
    using std::chrono::steady_clock;
    const auto window = steady_clock::now().time_since_epoch() / kWindow;
    if (window_.exchange(window) != window) calls_ = 0;
    if (++calls_ > kMostInWindow) std::this_thread::sleep_for(kPause);
  }

  std::atomic<std::chrono::steady_clock::rep> window_{0};
  std::atomic<int> calls_{0};
};

}  // namespace edged::edge
