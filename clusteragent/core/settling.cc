#include "clusteragent/core/settling.h"

#include <utility>

namespace edged::agent {

void Settling::Note(TimePoint now, const State& wanted, const State& answered,
                    const State& carried) {
  const bool stepped = std::exchange(answered_, answered) != answered;
  const bool followed = std::exchange(carried_, carried) != carried;
  if (answered == wanted && carried == wanted) {
    until_.reset();
  } else if (!until_ || stepped || followed) {
    until_ = now + kMoment;
  }
}

}  // namespace edged::agent
