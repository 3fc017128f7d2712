#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/backoff.h"

namespace edged::kube {

// Whether version `a` is older than `b`. Versions are decimal numbers of any
// length since Kubernetes 1.35 says so; of others nothing is known: false.
bool IsOlderVersion(std::string_view a, std::string_view b);

// What keeps a copy of a collection in step does next: list it, or watch it
// from a version on. Does nothing itself; it is told what came of it and when.
//
// A watch that the server ended in its time goes on at once where it was. One
// that broke goes on there, too, after a pause. The state is listed anew
// - when the server does not know the version any more, which it says in three
//   ways: 410 as the answer, 410 in an ERROR event, or an empty 200 at once;
// - after some watches without a word;
// - when the server ended a watch before the time that it was asked for: it has
//   let go of what it read from. Until it does so, a second or more after the
//   schema of a kind has changed, it tells objects by the old schema, and what
//   only the new one knows is missing from them; no later event says so.
// Whatever fails at once, again and again and without a word in between, is
// tried with growing pauses.
class WatchProgress {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::milliseconds;

  struct Pace {
    Duration first{500};
    Duration most = std::chrono::seconds(30);
    // A watch that ends earlier did not go well.
    Duration shortest = std::chrono::seconds(1);
    // At least, after a list of a kind that there is not.
    Duration missing{0};
    // A server may be behind for as long.
    Duration behind = std::chrono::seconds(20);
  };

  struct Next {
    bool list = true;              // else watch
    std::string resource_version;  // to watch from
    Duration pause{};
  };

  WatchProgress() : WatchProgress(Pace()) {}
  explicit WatchProgress(const Pace& pace)
      : pace_(pace), backoff_(pace.first, pace.most) {}

  Next Begin() const { return {}; }
  // The store is another one: versions that were known say nothing about its.
  Next BeginAnew();
  // Whether a list of this version is to be taken. Not one that is older than
  // what was heard before, from a server that is behind, unless lists stay
  // older for a while: the cluster came back from a backup.
  bool Takes(TimePoint now, const std::string& resource_version);
  // A list that was taken is the whole truth of now.
  Next Listed(std::string resource_version);
  Next ListFailed(const absl::Status& status);
  // The server is asked to end it after `lifetime`.
  void WatchBegan(TimePoint now, Duration lifetime);
  // An event with this version came. False: it is older than what we have, and
  // must not be applied.
  bool Heard(const std::string& resource_version);
  // With the error of an ERROR event, or OK when the server ended it.
  Next WatchEnded(TimePoint now, const absl::Status& status);

  const std::string& resource_version() const { return version_; }

 private:
  Next List(const absl::Status& status);
  Next Watch(const absl::Status& status);
  Duration Pause(const absl::Status& status);

  Pace pace_;
  Backoff backoff_;
  std::string version_;
  TimePoint began_;      // the last watch
  Duration lifetime_{};  // likewise
  bool heard_ = false;   // in this watch
  std::optional<TimePoint> behind_since_;
  int fruitless_ = 0;  // watches in a row
};

}  // namespace edged::kube
