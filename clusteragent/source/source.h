#pragma once

#include <string>
#include <vector>

#include "clusteragent/core/objects.h"

namespace edged::agent {

struct Snapshot {
  World world;
  std::vector<std::string> errors;  // one sentence each, with file and line
  bool operator==(const Snapshot&) const = default;
};

// Where objects come from.
class Source {
 public:
  virtual ~Source() = default;
  // Everything that is wished for now. What cannot be read any more is reported
  // and stands as it was last read.
  virtual Snapshot Read() = 0;
};

}  // namespace edged::agent
