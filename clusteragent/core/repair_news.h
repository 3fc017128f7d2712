#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <variant>

#include "clusteragent/core/happening.h"
#include "common/drift/drift.h"

namespace edged::agent {

// What one edge tells of what others did to it, as few things that a person
// should know: the first at once, those within a minute after it as one. Times
// are the caller's clock. Pure.
class RepairNews {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kQuiet{60};

  // Nothing: it is counted.
  std::optional<Happening> Add(const std::variant<Drift, Flood>& event,
                               Time now);
  // When Due() has something; nothing: not before the next Add().
  std::optional<Time> due() const;
  // What was counted, once its time has come.
  std::optional<Happening> Due(Time now);

 private:
  std::optional<Time> told_;  // the last time
  uint64_t repairs_ = 0;      // since, those of a flood included
  uint64_t failures_ = 0;
  std::optional<Happening> last_;  // of them
};

}  // namespace edged::agent
