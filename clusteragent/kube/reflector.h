#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/kube/last_trouble.h"
#include "clusteragent/kube/rest_client.h"
#include "clusteragent/kube/watch_progress.h"
#include "clusteragent/kube/watch_stream.h"
#include "common/event_loop.h"

namespace edged::kube {

// Tells somebody what a collection holds, first all of it and then every
// change, for as long as it lives: watch_progress.h on a RestClient. Borrows
// loop and client. What is told may not destroy it.
class Reflector {
 public:
  struct Told {
    // All there is; what was told before and is not here is gone.
    std::function<void(std::vector<nlohmann::json>)> replace;
    std::function<void(nlohmann::json)> put;  // one is new, or changed
    std::function<void(const nlohmann::json&)> remove;  // one is gone
    // Why it is not in step, once for each word; OK when it is again. What was
    // told before stands meanwhile.
    std::function<void(const absl::Status&)> trouble;
  };

  Reflector(EventLoop& loop, RestClient& client, Collection collection,
            Told told, const WatchProgress::Pace& pace = {});
  Reflector(const Reflector&) = delete;
  ~Reflector();

  void Start();
  // The API server answers again, as another collection heard: whatever waits
  // longer tries within a second.
  void Hurry();
  // Lists at once, whatever version was known. Only once it was started, and
  // not from what is told.
  void Relist();

 private:
  void Follow(const WatchProgress::Next& next);
  void List();
  void Watch(const std::string& resource_version);
  void Read(std::string_view piece);
  absl::Status Take(std::string_view line);
  void EndWatch(const absl::Status& status);
  void TellTrouble(const absl::Status& status);

  EventLoop& loop_;
  RestClient& client_;
  const Collection collection_;
  const Told told_;
  WatchProgress progress_;
  LineReader lines_;
  RestClient::CallId call_ = 0;
  EventLoop::TimerId timer_ = 0;
  WatchProgress::Next next_;  // that it waits for
  LastTrouble trouble_;
};

}  // namespace edged::kube
