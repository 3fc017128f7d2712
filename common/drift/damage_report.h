#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/drift/drift.h"
#include "common/nftables/events.h"

// What others changed since the last repair, in words. Pure.

namespace edged {

// "1 element of ports4 deleted", "table deleted".
std::string DescribeEvent(const nftables::Event& event);

// The words for it: how many changes, the first of them, the first of whom the
// kernel told.
class DamageReport {
 public:
  void Add(const std::string& what, const Culprit& by);
  // From here on this alone is told: it contains the others.
  void AddWhole(const std::string& what, const Culprit& by);

  uint64_t changes() const { return changes_; }
  const Culprit& by() const { return by_; }
  // "rule of forward deleted, table deleted and 3 more"; of one that was seen
  // several times, once.
  std::string What() const;

 private:
  uint64_t changes_ = 0;
  Culprit by_;
  std::vector<std::string> first_;
  uint64_t more_ = 0;
  std::string whole_;
};

}  // namespace edged
