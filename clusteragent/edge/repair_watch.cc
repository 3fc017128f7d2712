#include "clusteragent/edge/repair_watch.h"

#include <utility>

namespace edged::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

// An edge that is away is asked soon again, one of an older version less often.
constexpr auto kFirstAgain = std::chrono::milliseconds(500);
constexpr auto kAgain = std::chrono::seconds(30);
// What a break can have hidden.
constexpr uint32_t kRecent = 20;

}  // namespace

RepairWatch::RepairWatch(EventLoop& loop, EdgeClient& client,
                         std::function<void(const Happening&)> tell)
    : loop_(loop),
      client_(client),
      tell_(std::move(tell)),
      backoff_(kFirstAgain, kAgain) {
  Open(0);
}

RepairWatch::~RepairWatch() {
  loop_.Cancel(open_);
  loop_.Cancel(due_);
}

void RepairWatch::Open(uint32_t recent) {
  open_ = 0;
  replayed_ = recent;
  stream_ = client_.OpenEvents(recent, *this);
}

void RepairWatch::OnEvent(const EdgeEvent& event) {
  backoff_.Reset();
  // Of what is told again. Later the edge's clock may step back.
  if (replayed_ > 0) {
    --replayed_;
    if (event.at <= last_) return;
  }
  last_ = event.at;
  if (const auto news = news_.Add(event.what, SteadyClock::now())) {
    tell_(*news);
  }
  if (due_ != 0 || !news_.due()) return;
  due_ = loop_.After(*news_.due() - SteadyClock::now(), [this] { TellDue(); });
}

void RepairWatch::TellDue() {
  due_ = 0;
  if (const auto news = news_.Due(SteadyClock::now())) tell_(*news);
  if (!news_.due()) return;  // else the clock was not there yet
  due_ = loop_.After(*news_.due() - SteadyClock::now(), [this] { TellDue(); });
}

void RepairWatch::OnEventsEnd(const absl::Status&) {
  // Before the first event nothing tells old from new.
  const uint32_t recent = last_.time_since_epoch().count() == 0 ? 0 : kRecent;
  open_ = loop_.After(backoff_.Next(), [this, recent] { Open(recent); });
}

}  // namespace edged::agent
