#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/state_folder.h"
#include "common/background_writer.h"
#include "common/event_loop.h"

namespace edged::agent {

// The status files of a state folder, kept as told on a thread of their own:
// those that are told to be others, again with the next ones until the disk
// takes them. Belongs to the loop thread.
class StatusFiles {
 public:
  // `loop` and `state` outlive it. `saved` hears how each writing ended; a
  // failure is tried again every 2 s.
  StatusFiles(EventLoop& loop, const StateFolder& state,
              std::function<void(const absl::Status&)> saved);
  ~StatusFiles();

  // `changed`: the objects whose status is another since the last call; unset:
  // all may be. `errors` as in StateFolder::SaveErrors().
  void Tell(const ObjectStatuses& statuses,
            const std::optional<std::set<ObjectKey>>& changed,
            const std::vector<std::string>& errors);
  // Others may have changed the files: the next call is about all of them.
  void Doubt() { doubted_ = true; }

 private:
  // What the disk has not taken yet.
  struct Unsaved {
    bool whole = false;  // `statuses` are all there are
    ObjectStatuses statuses;
    std::set<ObjectKey> gone;
    std::vector<std::string> errors;

    absl::Status Save(const StateFolder& state) const;
  };

  void Write();
  void OnSaved(uint64_t told, const absl::Status& saved);

  EventLoop& loop_;
  const StateFolder& state_;
  const std::function<void(const absl::Status&)> saved_;
  Unsaved unsaved_;
  bool doubted_ = true;
  uint64_t told_ = 0;  // how often
  EventLoop::TimerId again_timer_ = 0;
  BackgroundWriter writer_;
};

}  // namespace edged::agent
