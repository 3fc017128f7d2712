#include "clusteragent/kube/watch_progress.h"

#include <algorithm>
#include <utility>

#include "clusteragent/kube/api_error.h"

namespace edged::kube {
namespace {

constexpr int kMostFruitless = 3;
constexpr std::chrono::seconds kLongestRetryAfter(120);

bool IsDecimal(std::string_view text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string_view WithoutZeros(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  return text;
}

}  // namespace

bool IsOlderVersion(std::string_view a, std::string_view b) {
  if (!IsDecimal(a) || !IsDecimal(b)) return false;
  a = WithoutZeros(a);
  b = WithoutZeros(b);
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

WatchProgress::Next WatchProgress::BeginAnew() {
  version_.clear();
  behind_since_.reset();
  fruitless_ = 0;
  return Begin();
}

bool WatchProgress::Takes(TimePoint now, const std::string& resource_version) {
  if (!IsOlderVersion(resource_version, version_)) return true;
  if (!behind_since_) behind_since_ = now;
  return now - *behind_since_ >= pace_.behind;
}

WatchProgress::Next WatchProgress::Listed(std::string resource_version) {
  behind_since_.reset();
  version_ = std::move(resource_version);
  fruitless_ = 0;
  return {.list = false, .resource_version = version_};
}

WatchProgress::Next WatchProgress::ListFailed(const absl::Status& status) {
  return List(status);
}

void WatchProgress::WatchBegan(TimePoint now, Duration lifetime) {
  began_ = now;
  lifetime_ = lifetime;
  heard_ = false;
}

bool WatchProgress::Heard(const std::string& resource_version) {
  if (IsOlderVersion(resource_version, version_)) return false;
  heard_ = true;
  if (!resource_version.empty()) version_ = resource_version;
  return true;
}

WatchProgress::Next WatchProgress::WatchEnded(TimePoint now,
                                              const absl::Status& status) {
  const auto took = now - began_;
  const bool lasted = took >= pace_.shortest;
  if (lasted || heard_) backoff_.Reset();
  fruitless_ = heard_ || (lasted && status.ok()) ? 0 : fruitless_ + 1;
  if (status.ok()) {
    // Clocks go at different rates.
    const bool in_time = took + pace_.shortest >= lifetime_;
    if (lasted && in_time) return {.list = false, .resource_version = version_};
    // A short one began when an old schema was not in use any more.
    return heard_ && !lasted ? Watch(status) : List(status);
  }
  const bool may_pass =
      absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  if (!may_pass || fruitless_ >= kMostFruitless) return List(status);
  return Watch(status);
}

WatchProgress::Next WatchProgress::List(const absl::Status& status) {
  return {.list = true, .pause = Pause(status)};
}

WatchProgress::Next WatchProgress::Watch(const absl::Status& status) {
  return {.list = false, .resource_version = version_, .pause = Pause(status)};
}

WatchProgress::Duration WatchProgress::Pause(const absl::Status& status) {
  Duration pause = backoff_.Next();
  if (absl::IsNotFound(status)) pause = std::max(pause, pace_.missing);
  if (const auto wanted = RetryAfterOf(status)) {
    pause = std::max<Duration>(pause, std::min(*wanted, kLongestRetryAfter));
  }
  return pause;
}

}  // namespace edged::kube
