#pragma once

#include <string>
#include <vector>

#include "edged/core/doctor.h"

namespace edged::edge {

struct DoctorOptions {
  std::string config;  // path of edged.yaml
  std::string state;   // state folder; empty: the one of edged.yaml
  std::string socket;
};

// `edged doctor`: looks at this host, and tells what keeps traffic from
// flowing. It works also when edged is not running, not enrolled or not root.
std::vector<Finding> ExamineHost(const DoctorOptions& options);

// 0: all well (notes count as such), 1: warnings, 2: errors.
int ExitStatusOf(const std::vector<Finding>& findings);

}  // namespace edged::edge
