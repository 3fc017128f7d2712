#pragma once

#include <string>
#include <vector>

#include "clusteragent/core/objects.h"

namespace edged::agent {

// An object that cannot be read as it is now.
struct InvalidObject {
  ObjectKey object;
  int64_t generation = 0;
  std::string message;  // names object, field and value
  bool operator==(const InvalidObject&) const = default;
};

struct Snapshot {
  World world;
  std::vector<std::string> errors;  // one sentence each, with file and line
  // Objects with a status of their own to say it in.
  std::vector<InvalidObject> invalid;
  // An EdgeNode that is missing in `world` may be there.
  bool partial = false;
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
