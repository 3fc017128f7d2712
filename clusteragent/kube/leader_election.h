#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace edged::kube {

// What a Lease of coordination.k8s.io/v1 says of who leads.
struct LeaseRecord {
  std::string holder;  // empty: nobody
  std::chrono::seconds duration{0};
  int64_t transitions = 0;  // grows with each term
  std::string renewed;      // renewTime, as written; compared for equality only
  bool operator==(const LeaseRecord&) const = default;
};

// Whether this replica leads, and what it writes to lead, by the protocol of
// client-go: whoever sees the lease unchanged for its duration may take it.
// That is judged by our own monotonic time alone, never by what others wrote
// as time; the time that is given should go on while the machine sleeps. Does
// nothing itself.
//
// Of one term there is one leader: a leader that could not renew for the
// renewal deadline, counted from when it began to send, is none any more, and
// nobody takes its lease before its longer duration is over. Each taking raises
// the number of the term, also by a process of the same identity, and also when
// somebody deleted the lease.
class LeaderElection {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::milliseconds;

  struct Timing {
    std::chrono::seconds lease{15};
    Duration renewal = std::chrono::seconds(10);  // less than the lease
    Duration retry = std::chrono::seconds(2);     // between attempts
  };

  // `alone`: there is no other replica. It takes the lease at once from whoever
  // has it, for the number of its term, which then has no end and needs no
  // renewal.
  LeaderElection(std::string identity, const Timing& timing, bool alone = false)
      : identity_(std::move(identity)), timing_(timing), alone_(alone) {}

  // The lease as it is now; nothing where there is none. What to write, but for
  // the time of renewal, which the caller puts in: the lease must not have
  // changed in between. Nothing: another one leads.
  std::optional<LeaseRecord> Observe(TimePoint now,
                                     const std::optional<LeaseRecord>& lease);
  // What Observe() gave is written; the sending began at `sent`.
  void Written(TimePoint sent, const LeaseRecord& lease);
  // What to write to let another one lead at once, if we lead; from now on we
  // do not.
  std::optional<LeaseRecord> Release(TimePoint now);
  // The number of later terms is above `term`, and ours becomes so: somebody
  // knows a higher one than the cluster does, which came back from a backup, or
  // another leads in the same.
  void Exceed(int64_t term) { outdone_ = std::max(outdone_, term); }

  // The number of our term, above zero, while we lead.
  std::optional<int64_t> Term(TimePoint now) const;
  // How long we lead without another renewal; zero: we do not. Alone: a year.
  Duration Remaining(TimePoint now) const;
  const std::string& holder() const { return seen_.holder; }
  // Ours is not above what Exceed() told.
  bool must_rise() const { return term_ && *term_ <= outdone_; }

 private:
  LeaseRecord Mine(int64_t transitions) const;

  std::string identity_;
  Timing timing_;
  bool alone_;
  LeaseRecord seen_;
  TimePoint seen_at_;            // when it last changed
  bool has_seen_ = false;        // anything
  int64_t exceed_ = 0;           // highest term that is known of leases
  int64_t outdone_ = 0;          // and by Exceed()
  std::optional<int64_t> term_;  // ours
  TimePoint renewed_at_;
};

}  // namespace edged::kube
