#include "clusteragent/core/path_search.h"

#include <algorithm>
#include <utility>

#include "common/protocol/tunnel_mtu.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kTries = 3;
constexpr auto kLeastPatience = milliseconds(200);
constexpr auto kMostPatience = seconds(2);
constexpr auto kCheckInterval = seconds(5);
constexpr auto kRaiseInterval = std::chrono::minutes(10);
// WireGuard fills packets up to multiples of this, as far as its device's MTU
// allows: a size in between passes no better than the next multiple.
constexpr uint32_t kPadding = 16;
// Passes an underlay of 1280 by either family.
constexpr uint32_t kBase = 1200;

}  // namespace

uint32_t PathSearch::Most() const {
  return edge_ == 0 ? own_ : std::min(own_, edge_);
}

void PathSearch::SetOwn(uint32_t mtu, Time now) {
  if (std::exchange(own_, mtu) == mtu) return;
  if (mtu_ == 0) mtu_ = mtu;
  failed_ = 0;  // another network, maybe
  KeepWithin(now);
}

void PathSearch::Begin(Time now) {
  knows_ = false;
  proven_ = false;
  failed_ = 0;
  told_.reset();
  waiting_ = false;
  tries_ = 0;
  ask_at_ = due_ = now;
}

void PathSearch::Heard(Time now) {
  heard_ = now;
  if (waiting_) due_ = std::min(due_, SentAt(number_) + Patience());
}

void PathSearch::KeepWithin(Time now) {
  if (mtu_ > Most() || !started_) Use(Most(), false);
  due_ = now;
}

void PathSearch::Use(uint32_t mtu, bool proven) {
  mtu_ = mtu;
  proven_ = proven;
  tries_ = 0;
}

void PathSearch::Echoed(const Probe& probe, uint32_t edge_mtu, Time now) {
  heard_ = now;
  knows_ = true;
  told_ = probe.uplink_mtu;
  due_ = now;
  if (probe.number == number_) waiting_ = false;
  if (number_ - probe.number < sent_.size()) {
    round_trip_ = now - SentAt(probe.number);
  }
  const uint32_t edge = std::max(edge_mtu, protocol::kLeastMtu);
  if (edge_ != edge) {
    if (edge > edge_) failed_ = 0;
    edge_ = edge;
    KeepWithin(now);
  }
  if (probe.size == 0 || probe.size < mtu_ || probe.size > Most()) return;
  started_ = true;
  if (failed_ <= probe.size) failed_ = 0;  // it was only late
  check_at_ = now + kCheckInterval;
  Use(probe.size, true);
}

// Nothing before anything is known: the edge may know from before.
uint32_t PathSearch::Told() const { return started_ ? mtu_ : 0; }

// The next size to try; mtu_ when there is none.
uint32_t PathSearch::Between() const {
  const uint32_t most = Most();
  if (mtu_ >= most) return mtu_;
  if (failed_ == 0 || failed_ > most) return most;
  const uint32_t middle = (mtu_ + failed_) / 2;
  const uint32_t rounded = middle / kPadding * kPadding;
  if (rounded > mtu_) return rounded;
  const uint32_t above = (mtu_ / kPadding + 1) * kPadding;
  return above < failed_ ? above : mtu_;
}

// The size to probe now; unset: none before due_.
std::optional<uint32_t> PathSearch::Wanted(Time now) {
  if (!knows_ || told_ != Told()) {
    if (now >= ask_at_) return 0;
    if (!knows_) {
      due_ = ask_at_;
      return std::nullopt;
    }
  }
  if (proven_ && now >= check_at_) proven_ = false;
  if (!proven_) {
    if (started_ && now < check_at_ && mtu_ <= protocol::kLeastMtu) {
      due_ = check_at_;  // there is nothing smaller: no hurry
      return std::nullopt;
    }
    return mtu_;
  }
  uint32_t next = Between();
  if (next == mtu_ && mtu_ < Most() && now >= raise_at_) {
    failed_ = 0;
    next = Between();
  }
  if (next != mtu_) return next;
  due_ = mtu_ < Most() ? std::min(check_at_, raise_at_) : check_at_;
  return std::nullopt;
}

PathSearch::Duration PathSearch::Patience() const {
  return std::clamp<Duration>(3 * round_trip_, kLeastPatience, kMostPatience);
}

void PathSearch::Lost(uint32_t size, Time now) {
  started_ = true;
  tries_ = 0;
  if (size > mtu_) {
    failed_ = size;
  } else if (size == mtu_ && mtu_ > protocol::kLeastMtu) {
    failed_ = size;
    Use(mtu_ > kBase ? kBase : protocol::kLeastMtu, false);
  } else {
    check_at_ = now + kCheckInterval;
  }
  raise_at_ = now + kRaiseInterval;
}

std::optional<PathSearch::Probe> PathSearch::Next(Time now) {
  if (mtu_ == 0) {
    due_ = Time::max();
    return std::nullopt;
  }
  if (waiting_) {
    const Time sent = SentAt(number_);
    const bool heard = size_ == 0 || heard_ > sent;
    due_ = sent + (heard ? Patience() : Duration(kMostPatience));
    if (now < due_) return std::nullopt;
    waiting_ = false;
    if (heard && ++tries_ >= kTries) {
      if (size_ == 0) {
        ask_at_ = now + kCheckInterval;
      } else {
        Lost(size_, now);
      }
    }
  }
  const auto wanted = Wanted(now);
  if (!wanted) return std::nullopt;
  if (size_ != *wanted || (*wanted == 0 && tries_ >= kTries)) tries_ = 0;
  size_ = *wanted;
  SentAt(++number_) = now;
  waiting_ = true;
  due_ = now + Patience();
  return Probe{number_, size_, Told()};
}

}  // namespace edged::agent
