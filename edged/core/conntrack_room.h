#pragma once

#include <cstdint>
#include <string>

namespace edged::edge {

// Of this network namespace's table of connections.
struct ConntrackFill {
  int64_t count = 0;
  int64_t most = 0;  // 0: unknown, or without a limit
  bool operator==(const ConntrackFill&) const = default;
};

// Whether the table has room for new connections: full from 95 % on, and again
// not below 85 %, so that one that is just full is told of once. Pure.
class ConntrackRoom {
 public:
  void Saw(const ConntrackFill& fill);
  bool is_full() const { return is_full_; }
  // For status and log, without the count, which changes all the time; empty
  // while there is room. `uplinks_pass`: by overflow_table.h.
  std::string Warning(bool uplinks_pass) const;
  bool operator==(const ConntrackRoom&) const = default;

 private:
  bool is_full_ = false;
  int64_t most_ = 0;
};

}  // namespace edged::edge
