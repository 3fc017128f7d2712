#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace edged::agent {

// Small numbers from 1 given to names and kept for as long as the name is. A
// freed number rests: it is given again only when no fresh one is left, the one
// that has rested longest first, so that flows of its last owner have ended.
struct IndexPool {
  std::map<std::string, uint32_t> taken;
  std::deque<uint32_t> resting;  // the one freed first in front

  std::optional<uint32_t> Find(const std::string& name) const;
  // The number of `name`, a new one if it has none; nothing when all numbers
  // up to `limit` are taken.
  std::optional<uint32_t> Take(const std::string& name, uint32_t limit);
  void Free(const std::string& name);
  bool operator==(const IndexPool&) const = default;
};

}  // namespace edged::agent
