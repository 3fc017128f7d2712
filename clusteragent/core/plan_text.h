#pragma once

#include <string>

#include "clusteragent/core/planner.h"

namespace edged::agent {

// A plan for people: what each edge would get, and everything that is refused
// with its reason. Lines end with '\n'.
std::string PlanText(const Plan& plan);

}  // namespace edged::agent
