#include "edged/uplink_watch.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace edged::edge {
namespace {

constexpr auto kFirstWords = std::chrono::seconds(5);
constexpr auto kGreetInterval = std::chrono::seconds(1);
constexpr auto kFirstWordsInterval = std::chrono::milliseconds(100);
constexpr auto kLongDead = std::chrono::seconds(30);
constexpr auto kHeedInterval = std::chrono::milliseconds(5);
constexpr int kHeedFactor = 4;  // the pause after it, in its own length

bool Worsened(const UplinkHealth& before, const UplinkHealth& after) {
  return std::ranges::any_of(after, [&before](const auto& entry) {
    return entry.second < HealthOf(before, entry.first);
  });
}

}  // namespace

UplinkWatch::UplinkWatch(EventLoop& loop, Owner& owner,
                         const protocol::Overlay& overlay, Serve serve,
                         Clock clock)
    : loop_(loop),
      owner_(owner),
      overlay_(overlay),
      serve_(std::move(serve)),
      clock_(std::move(clock)) {}

UplinkWatch::~UplinkWatch() {
  for (const auto timer : {tick_timer_, heed_timer_, first_words_timer_}) {
    loop_.Cancel(timer);
  }
}

void UplinkWatch::Update(const EdgeModel& model, bool grace) {
  health_.Update(model, clock_(), grace);
  std::map<std::string, Uplink> uplinks;
  for (const auto& [name, uplink] : model.uplinks()) {
    uplinks[name] = {overlay_.UplinkAddress(uplink.block), uplink.key,
                     LastHeard(name)};
  }
  uplinks_ = std::move(uplinks);
  if (judging_) ArmTicks();
}

void UplinkWatch::StartJudging() {
  judging_ = true;
  ArmTicks();
}

void UplinkWatch::ArmTicks() {
  const auto interval = health_.tick_interval();
  if (tick_timer_ != 0 && interval == tick_interval_) return;
  loop_.Cancel(tick_timer_);
  tick_interval_ = interval;
  tick_timer_ = loop_.Every(interval, [this] {
    health_.Tick(clock_());
    owner_.JudgeHealth();
  });
}

absl::StatusOr<bool> UplinkWatch::Hear(int link) {
  if (server_ && link_ == link) return false;
  server_.reset();
  ASSIGN_OR_RETURN(
      server_,
      serve_(
          [this](const IpAddress& from, const protocol::Heartbeat& heartbeat) {
            OnHeartbeat(from, heartbeat);
          },
          [this](const IpAddress& from, const protocol::PathProbe& probe) {
            return OnProbe(from, probe);
          }));
  return std::exchange(link_, link) != link;
}

void UplinkWatch::Deafen() { server_.reset(); }

void UplinkWatch::Greet() {
  if (!server_) return;
  for (const auto& [name, uplink] : uplinks_) server_->Greet(uplink.address);
}

// nullptr when `address` is no uplink's.
const std::string* UplinkWatch::UplinkAt(const IpAddress& address) const {
  const auto found =
      std::ranges::find_if(uplinks_, [&address](const auto& entry) {
        return entry.second.address == address;
      });
  return found == uplinks_.end() ? nullptr : &found->first;
}

void UplinkWatch::OnHeartbeat(const IpAddress& from,
                              const protocol::Heartbeat& heartbeat) {
  const std::string* uplink = UplinkAt(from);
  if (!uplink) return;
  const Time now = clock_();
  health_.Tick(now);  // our own stall is not the silence of the others
  health_.OnHeartbeat(*uplink, heartbeat, now);
  uplinks_.at(*uplink).last_heard = std::chrono::system_clock::now();
  HeedSoon();
}

std::optional<uint32_t> UplinkWatch::OnProbe(const IpAddress& from,
                                             const protocol::PathProbe& probe) {
  const std::string* uplink = UplinkAt(from);
  if (!uplink) return std::nullopt;
  return owner_.OnProbe(*uplink, probe);
}

void UplinkWatch::HeedSoon() {
  if (heed_timer_ != 0) return;
  const Time now = clock_();
  if (now >= heed_after_) {
    HeedNow();
    return;
  }
  heed_timer_ = loop_.After(heed_after_ - now, [this] { HeedNow(); });
}

void UplinkWatch::HeedNow() {
  heed_timer_ = 0;
  const Time start = clock_();
  owner_.Heed();
  const Time end = clock_();
  heed_after_ = end + std::max<Time::duration>(kHeedInterval,
                                               kHeedFactor * (end - start));
}

void UplinkWatch::AwaitFirstWords() {
  first_words_timer_ = 0;
  if (!health_.HasGrace()) return;
  const Time now = clock_();
  if (!way_since_ && owner_.HasWay()) way_since_ = now;
  if (way_since_ && now - *way_since_ > kFirstWords) return;
  health_.ExtendGrace(now);
  if (way_since_ && now >= greet_after_) {
    greet_after_ = now + kGreetInterval;
    owner_.RenewSilentPeers();
    Greet();
  }
  first_words_timer_ =
      loop_.After(kFirstWordsInterval, [this] { AwaitFirstWords(); });
}

UplinkHealth UplinkWatch::Judge(const UplinkHealth& before) {
  const Time now = clock_();
  UplinkHealth after = health_.Evaluate(now);
  if (!Worsened(before, after)) return after;
  const auto received = owner_.ReceivedBytes();
  for (const auto& [name, uplink] : uplinks_) {
    const auto peer = received.find(uplink.key);
    if (peer != received.end()) {
      health_.OnReceivedBytes(name, peer->second, now);
    }
  }
  return health_.Evaluate(now);
}

std::set<std::string> UplinkWatch::LongDead() const {
  std::set<std::string> names;
  for (const auto& [name, uplink] : uplinks_) {
    const auto dead = health_.DeadFor(name, clock_());
    if (dead && *dead > kLongDead) names.insert(name);
  }
  return names;
}

std::optional<WallTime> UplinkWatch::LastHeard(
    const std::string& uplink) const {
  const auto known = uplinks_.find(uplink);
  return known == uplinks_.end() ? std::nullopt : known->second.last_heard;
}

}  // namespace edged::edge
