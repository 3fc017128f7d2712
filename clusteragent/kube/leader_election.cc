#include "clusteragent/kube/leader_election.h"

namespace edged::kube {
namespace {

constexpr std::chrono::seconds kLongestLease(3600);
// Of a released lease: whoever does not know that an empty holder is nobody
// waits no longer.
constexpr std::chrono::seconds kReleased(1);
constexpr LeaderElection::Duration kNoEnd = std::chrono::hours(365 * 24);

}  // namespace

LeaseRecord LeaderElection::Mine(int64_t transitions) const {
  return {.holder = identity_,
          .duration = timing_.lease,
          .transitions = transitions};
}

std::optional<LeaseRecord> LeaderElection::Observe(
    TimePoint now, const std::optional<LeaseRecord>& lease) {
  if (!lease) {  // never made, or deleted: what was is over
    term_.reset();
    has_seen_ = false;
    return Mine(std::max(exceed_, outdone_) + 1);
  }
  if (!has_seen_ || !(*lease == seen_)) {
    seen_ = *lease;
    seen_at_ = now;
    has_seen_ = true;
  }
  const bool is_ours = lease->holder == identity_ && term_;
  if (is_ours && lease->transitions >= exceed_ &&
      lease->transitions == *term_ && !must_rise()) {
    return Mine(*term_);
  }
  exceed_ = std::max(exceed_, lease->transitions);
  if (is_ours) {
    term_.reset();
    return Mine(std::max(exceed_, outdone_) + 1);
  }
  term_.reset();
  auto duration = lease->duration;
  if (duration <= std::chrono::seconds::zero() || duration > kLongestLease) {
    duration = timing_.lease;
  }
  // One of our name is a process before this one, or a mistake: it waits, too.
  const bool is_free =
      alone_ || lease->holder.empty() || now - seen_at_ >= duration;
  if (!is_free) return std::nullopt;
  return Mine(std::max(exceed_, outdone_) + 1);
}

void LeaderElection::Written(TimePoint sent, const LeaseRecord& lease) {
  seen_ = lease;
  seen_at_ = sent;
  has_seen_ = true;
  term_ = lease.transitions;
  exceed_ = std::max(exceed_, lease.transitions);
  renewed_at_ = sent;
}

std::optional<LeaseRecord> LeaderElection::Release(TimePoint now) {
  const auto term = Term(now);
  term_.reset();
  if (!term) return std::nullopt;
  return LeaseRecord{.duration = kReleased, .transitions = *term};
}

std::optional<int64_t> LeaderElection::Term(TimePoint now) const {
  if (Remaining(now) <= Duration::zero()) return std::nullopt;
  return term_;
}

LeaderElection::Duration LeaderElection::Remaining(TimePoint now) const {
  if (!term_) return Duration::zero();
  if (alone_) return kNoEnd;
  const auto left = renewed_at_ + timing_.renewal - now;
  return std::max(Duration::zero(), std::chrono::duration_cast<Duration>(left));
}

}  // namespace edged::kube
