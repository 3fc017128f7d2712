#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/core/happening.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/kube/resource.h"
#include "clusteragent/kube/rest_client.h"
#include "common/backoff.h"
#include "common/event_loop.h"

namespace edged::agent {

// What is new between the status that an object has (`before`, as the API
// server knows it) and the one it gets. That something is under way is no news.
// Pure.
std::vector<Happening> NewsOf(const nlohmann::json& before,
                              const ObjectStatus& status);

// Writes Events of Kubernetes, a few at once. Those that the API server does
// not take for now wait, with growing pauses, until they are too old to be
// news; what it refuses is lost, and so is what comes in floods. A verb that is
// not granted stands in the log, once. Belongs to the loop thread.
class EventRecorder {
 public:
  struct Limits {
    size_t calls = 8;  // under way
    size_t waiting = 64;
    Backoff pause{std::chrono::seconds(1), std::chrono::minutes(1)};
    std::chrono::milliseconds age = std::chrono::minutes(15);
  };

  // Borrows the client. `instance`: this replica.
  EventRecorder(kube::RestClient& client, std::string instance,
                const Limits& limits);
  EventRecorder(kube::RestClient& client, std::string instance)
      : EventRecorder(client, std::move(instance), Limits()) {}
  EventRecorder(const EventRecorder&) = delete;
  ~EventRecorder();

  // What an Event is about.
  struct Subject {
    std::string api_version;
    std::string kind;
    std::string name_space;  // empty: it has none
    std::string name;
    std::string uid;
  };
  void Record(const Subject& subject, const Happening& happening);
  void Record(const ObjectKey& object, const std::string& uid,
              const Happening& happening);

 private:
  struct Event {
    kube::ObjectRef ref;
    nlohmann::json body;
    std::chrono::steady_clock::time_point stale;  // from then on
  };

  void SendWaiting();
  void Send(Event event);
  void Conclude(Event event, const absl::Status& status);

  kube::RestClient& client_;
  const std::string instance_;
  Limits limits_;
  std::deque<Event> waiting_;  // one that failed goes behind the others
  std::vector<kube::RestClient::CallId> calls_;
  EventLoop::TimerId pause_ = 0;
  std::string missing_verb_;  // told
  uint64_t count_ = 0;
};

}  // namespace edged::agent
