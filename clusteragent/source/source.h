#pragma once

#include <map>
#include <string>
#include <vector>

#include "clusteragent/core/objects.h"
#include "clusteragent/core/status_plan.h"

namespace edged::agent {

// What is wrong with the objects that are there. What cannot be read stands as
// it was last read.
struct Mistakes {
  std::vector<std::string> errors;  // one sentence each, with the place
  // Objects with a status of their own to say it in.
  std::map<ObjectKey, InvalidObject> invalid;
  // An EdgeNode that is missing may be there.
  bool partial = false;
  bool operator==(const Mistakes&) const = default;
};

struct Snapshot {
  World world;
  std::vector<std::string> errors;  // as in Mistakes
  bool partial = false;             // likewise
  bool operator==(const Snapshot&) const = default;
};

// Where whole worlds come from.
class Source {
 public:
  virtual ~Source() = default;
  // Everything that is wished for now. What cannot be read any more is reported
  // and stands as it was last read.
  virtual Snapshot Read() = 0;
};

}  // namespace edged::agent
