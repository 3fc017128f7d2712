#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/net_types.h"

namespace edged::agent {

// Host names to addresses, on a thread of its own because the system's resolver
// blocks. Its destructor waits for a look-up that is under way.
class Resolver {
 public:
  using Done = std::function<void(const absl::StatusOr<IpAddress>&)>;

  // `loop` outlives the resolver.
  explicit Resolver(EventLoop& loop);
  ~Resolver();

  // Calls `done` on the loop thread; an address is its own answer. Of several
  // addresses the system's first choice is taken.
  void Resolve(const std::string& host, Done done);

 private:
  struct Question {
    std::string host;
    Done done;
  };

  void Work();

  EventLoop& loop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Question> questions_;  // under mutex_
  bool stopping_ = false;           // under mutex_
  std::thread thread_;              // begins with the first question
};

}  // namespace edged::agent
