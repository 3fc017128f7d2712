#pragma once

#include <string>
#include <vector>

#include "edged/core/doctor.h"

namespace edged::edge {

// Findings for a person at a terminal: one line each, and below those that are
// not fine what they mean and the lines that mend them. Pure.
std::string ReportText(const std::vector<Finding>& findings);

// {"worst": "...", "findings": [{severity, check, what, means, mend: [...]}]}
std::string ReportJson(const std::vector<Finding>& findings);

}  // namespace edged::edge
