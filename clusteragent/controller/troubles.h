#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/kube/last_trouble.h"

namespace edged::agent {

// What stands in the way of this replica's work, by what it is about ("lease",
// "services in namespace a"): in the log each word once, what an operator must
// act on as an error, what passes as a warning. Not for single objects: none of
// them keeps a replica from its work.
class Troubles {
 public:
  // OK: it is well again.
  void Hear(const std::string& what, const absl::Status& why);

  bool Has(const std::string& what) const { return known_.contains(what); }
  // A sentence each.
  std::vector<std::string> All() const;
  std::vector<std::string> ForOperator() const;

 private:
  struct Trouble {
    kube::LastTrouble last;
    bool for_operator = false;
  };
  std::map<std::string, Trouble> known_;
};

}  // namespace edged::agent
