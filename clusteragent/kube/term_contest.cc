#include "clusteragent/kube/term_contest.h"

namespace edged::kube {

std::optional<TermContest::Duration> TermContest::Hear(const std::string& edge,
                                                       int64_t term) {
  const auto [known, is_new] = seen_.try_emplace(edge, term);
  if (is_new) return Duration::zero();
  const int64_t before = known->second;
  known->second = term;
  if (term == before) return std::nullopt;
  if (term > before) return backoff_.Next();
  backoff_.Reset();
  return Duration::zero();
}

}  // namespace edged::kube
