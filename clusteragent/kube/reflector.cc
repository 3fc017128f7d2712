#include "clusteragent/kube/reflector.h"

#include <chrono>
#include <utility>

#include "absl/random/random.h"
#include "clusteragent/kube/api_error.h"
#include "common/status.h"

namespace edged::kube {
namespace {

using Clock = std::chrono::steady_clock;

// An object has 1.5 MB at most (etcd's limit), and may grow as JSON.
constexpr size_t kLongestLine = 8 << 20;
// As client-go does, so that watches do not all end at once.
constexpr int kLeastLifetime = 300, kMostLifetime = 600;

constexpr WatchProgress::Duration kHurry = std::chrono::seconds(1);

absl::BitGen& Random() {
  static absl::BitGen random;  // on the loop thread alone
  return random;
}

std::chrono::seconds Lifetime() {
  return std::chrono::seconds(
      absl::Uniform(Random(), kLeastLifetime, kMostLifetime));
}

}  // namespace

Reflector::Reflector(EventLoop& loop, RestClient& client, Collection collection,
                     Told told, const WatchProgress::Pace& pace)
    : loop_(loop),
      client_(client),
      collection_(std::move(collection)),
      told_(std::move(told)),
      progress_(pace),
      lines_(kLongestLine) {}

Reflector::~Reflector() {
  client_.Cancel(call_);
  loop_.Cancel(timer_);
}

void Reflector::Start() { Follow(progress_.Begin()); }

void Reflector::Follow(const WatchProgress::Next& next) {
  next_ = next;
  timer_ = loop_.After(next.pause, [this] {
    timer_ = 0;
    const WatchProgress::Next now = next_;
    now.list ? List() : Watch(now.resource_version);
  });
}

void Reflector::Hurry() {
  if (timer_ == 0 || next_.pause <= kHurry) return;
  loop_.Cancel(timer_);
  next_.pause = WatchProgress::Duration(
      absl::Uniform<int64_t>(Random(), 0, kHurry.count()));
  Follow(next_);
}

void Reflector::Relist() {
  client_.Cancel(std::exchange(call_, 0));
  loop_.Cancel(std::exchange(timer_, 0));
  Follow(progress_.BeginAnew());
}

void Reflector::List() {
  call_ = client_.List(collection_, [this](absl::StatusOr<ObjectList> list) {
    call_ = 0;
    if (list.ok() && !progress_.Takes(Clock::now(), list->resource_version)) {
      list =
          Unavailable("list {}: version {} is older than {}, which was known",
                      collection_.ToString(), list->resource_version,
                      progress_.resource_version());
    }
    TellTrouble(list.status());
    if (!list.ok()) return Follow(progress_.ListFailed(list.status()));
    const auto next = progress_.Listed(std::move(list->resource_version));
    told_.replace(std::move(list->items));
    Follow(next);
  });
}

void Reflector::Watch(const std::string& resource_version) {
  lines_.Clear();
  const std::chrono::seconds lifetime = Lifetime();
  progress_.WatchBegan(Clock::now(), lifetime);
  call_ = client_.Watch(
      collection_, resource_version, lifetime,
      [this](std::string_view piece) { Read(piece); },
      [this](const absl::Status& status) { EndWatch(status); });
}

void Reflector::Read(std::string_view piece) {
  const absl::Status taken =
      lines_.Feed(piece, [this](std::string_view line) { return Take(line); });
  if (taken.ok()) return;
  client_.Cancel(call_);
  EndWatch(taken);
}

absl::Status Reflector::Take(std::string_view line) {
  auto event = ParseWatchEvent(line);
  if (!event.ok()) {
    return Annotate(event.status(), "watch " + collection_.ToString());
  }
  if (event->type == WatchEventType::kError) {
    return ErrorOf(event->object, "watch " + collection_.ToString());
  }
  if (!progress_.Heard(event->resource_version)) return absl::OkStatus();
  TellTrouble(absl::OkStatus());
  switch (event->type) {
    case WatchEventType::kAdded:
    case WatchEventType::kModified:
      told_.put(std::move(event->object));
      break;
    case WatchEventType::kDeleted:
      told_.remove(event->object);
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

void Reflector::EndWatch(const absl::Status& status) {
  call_ = 0;
  const auto next = progress_.WatchEnded(Clock::now(), status);
  // That a version is old, or a stream was cut, is everyday life.
  if (!status.ok() && !absl::IsOutOfRange(status) && next.list) {
    TellTrouble(status);
  }
  Follow(next);
}

void Reflector::TellTrouble(const absl::Status& status) {
  if (trouble_.Becomes(status)) told_.trouble(status);
}

}  // namespace edged::kube
