#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/net_types.h"

namespace edged::agent {

// Host names to addresses, on threads of their own because the system's
// resolver blocks, for as long as a name server likes. A name that hangs holds
// up neither other names nor the end of the process: its thread is left alone,
// and ends when the system lets it go. Belongs to the loop thread.
class Resolver {
 public:
  using Done = std::function<void(const absl::StatusOr<IpAddress>&)>;
  // Called on any thread, several at once.
  using LookUp =
      std::function<absl::StatusOr<IpAddress>(const std::string& host)>;

  // Several questions of one name have one thread.
  static constexpr size_t kMostThreads = 8;
  static constexpr EventLoop::Duration kPatience = std::chrono::seconds(10);

  // `loop` outlives the resolver.
  Resolver(EventLoop& loop, LookUp look_up);
  ~Resolver();

  // Calls `done` on the loop thread; an address is its own answer. Of several
  // addresses the system's first choice is taken. Unavailable when there is no
  // answer, also after kPatience.
  void Resolve(const std::string& host, Done done);

 private:
  struct Desk;
  using QuestionId = uint64_t;

  static void Work(const std::shared_ptr<Desk>& desk);
  void Answer(const std::string& host,
              const absl::StatusOr<IpAddress>& address);
  void GiveUp(const std::string& host, QuestionId question);

  EventLoop& loop_;
  const std::shared_ptr<Desk> desk_;
  QuestionId next_question_ = 1;
  // By host, for as long as it is looked up: also when nobody waits any more.
  std::map<std::string, std::map<QuestionId, Done>> waiting_;
};

// The system's: /etc/hosts, DNS, whatever nsswitch.conf says.
absl::StatusOr<IpAddress> AskSystem(const std::string& host);

}  // namespace edged::agent
