#include "clusteragent/kube/term_contest.h"

#include <utility>

namespace edged::kube {

std::optional<TermContest::Duration> TermContest::Hear(const std::string& edge,
                                                       int64_t term,
                                                       Clock::time_point now) {
  const auto [known, is_new] = seen_.try_emplace(edge, term);
  if (is_new) return Duration::zero();
  const int64_t before = known->second;
  known->second = term;
  if (term == before) return std::nullopt;
  if (term > before) {
    if (now - std::exchange(raised_, now) > kPeace) backoff_.Reset();
    return backoff_.Next();
  }
  backoff_.Reset();
  return Duration::zero();
}

}  // namespace edged::kube
